"""What the shop's version 2 knows: orders with an even number are express ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Order:
    number: int


@dataclass
class ExpressOrder(Order):
    hours: int = 24


def order(number: int) -> Order:
    return Order(number) if number % 2 else ExpressOrder(number)
