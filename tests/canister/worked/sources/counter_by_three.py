"""The next version of the counter: it adds 3."""

from stable_structures.canister import Actor, query, stable, update


class Counter(Actor):
    value = stable(0)
    hits = 0

    @update
    def inc(self):
        self.value += 3
        self.hits += 1
        return self.value

    @query
    def seen(self):
        return self.hits
