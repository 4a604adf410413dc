# SPDX-License-Identifier: Apache-2.0
"""An order book in a file: bids and asks in price order, crash-safe, matched inside transactions.

Run it twice: the second run goes on where the first one stopped.

    python order_book.py book.bin
"""

import sys
from dataclasses import dataclass

from stable_structures import MemoryManager, Reverse, StableBTreeMap, StableCell, StableLog, StableMemory, storable, u32, u64


@storable
@dataclass(frozen=True)
class Order:
    """What stands in the book under (price, number)."""

    account: u32
    amount: u64


class OrderBook:
    """Orders wait in two maps, best price first; what was traded goes into a log."""

    def __init__(self, memory: StableMemory) -> None:
        manager = MemoryManager(memory)
        self.memory = memory
        self.asks = StableBTreeMap[tuple[u64, u64], Order](manager.get(0))
        self.bids = StableBTreeMap[tuple[Reverse[u64], u64], Order](manager.get(1))  # the highest price comes first
        self.number = StableCell[u64](manager.get(2), 0)
        self.trades = StableLog[tuple[u64, u64]](manager.get(3), manager.get(4))

    def sell(self, account: int, price: int, amount: int) -> int:
        """Offer something; return how much of it was traded at once."""
        return self._place(account, price, amount, self.asks, self.bids, lambda bid: bid >= price)

    def buy(self, account: int, price: int, amount: int) -> int:
        """Ask for something; return how much of it was traded at once."""
        return self._place(account, price, amount, self.bids, self.asks, lambda ask: ask <= price)

    def _place(self, account, price, amount, own, other, fits) -> int:
        with self.memory.transaction():  # the trades and what is left of the order, or nothing
            left = amount
            while left and (best := other.first_key_value()) and fits(best[0][0]):
                key, order = best
                traded = min(left, order.amount)
                self.trades.append((key[0], traded))
                left -= traded
                if traded == order.amount:
                    del other[key]
                else:
                    other[key] = Order(order.account, order.amount - traded)
            if left:
                self.number.value += 1
                own[price, self.number.value] = Order(account, left)
            return amount - left


def main(path: str) -> None:
    """Make a few orders and show what the book holds."""
    with StableMemory.open(path, durability="full") as memory:
        book = OrderBook(memory)
        book.sell(account=1, price=101, amount=5)
        book.sell(account=2, price=100, amount=3)
        traded = book.buy(account=3, price=101, amount=6)
        print(f"traded {traded}; waiting: {len(book.asks)} asks, {len(book.bids)} bids; trades so far: {len(book.trades)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "book.bin")
