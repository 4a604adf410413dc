"""The counter of the platform's tutorial, in our own form: `value` survives upgrades, `hits` does not."""

from stable_structures.canister import Actor, query, stable, update


class Counter(Actor):
    value = stable(0)
    hits = 0

    @update
    def inc(self):
        self.value += 1
        self.hits += 1
        return self.value

    @query
    def seen(self):
        return self.hits
