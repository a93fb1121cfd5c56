"""The auditor: reads the journals, and believes nobody else.

It uses nothing of the accounts and tellers, and reads the lines by another decoder than theirs.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from examples.bank.messages import Transfer


@attrs.frozen
class Audit:
    """What the journals say. balances: by branch/account. problems: what must not be, in words."""

    balances: dict[str, int]
    applied: int
    refused: int
    lines: int
    problems: list[str]


def audit(
    folder: Path,
    accounts: Iterable[str],
    opening: int,
    orders: dict[int, Transfer],
    outcomes: dict[int, bool],
) -> Audit:
    """Check the journals in a folder, each called as its branch, when all is done.

    accounts: as branch/account. orders: what was ordered, by number. outcomes: what the customers
    were told: whether it was done.

    No balance is ever below 0; each step of a transfer was done at most once, for its sum and at
    its account; a transfer was done wholly or not at all, as its customer was told; and the sum of
    all balances is what it was.
    """
    balances = dict.fromkeys(accounts, opening)
    total = sum(balances.values())
    steps: dict[tuple[int, str], list[str]] = {}
    problems: list[str] = []
    lines = 0
    for path in sorted(folder.glob("*.journal")):
        for line in read_lines(path):
            lines += 1
            if line["who"] == "teller":
                continue
            name = f"{path.stem}/{line['who']}"
            order = orders[line["transfer"]]
            step = steps.setdefault((order.number, line["what"]), [])
            step.append(name)
            if (name, line["cents"]) != expected(order, line["what"]):
                problems.append(f"transfer {order.number}: {name} has {line}, of {order}")
            balances[name] += line["cents"]
            if balances[name] < 0:
                problems.append(f"{name} has {balances[name]} after transfer {order.number}")
    for (number, what), names in steps.items():
        if len(names) > 1:
            problems.append(f"transfer {number} was {what} {len(names)} times: {', '.join(names)}")
    for number in orders:
        done = {what for what in ("withdrawn", "deposited", "refused") if (number, what) in steps}
        told = outcomes.get(number)
        if done != ({"withdrawn", "deposited"} if told else {"refused"}):
            problems.append(f"transfer {number} was {sorted(done)}, and its customer told {told}")
    if sum(balances.values()) != total:
        problems.append(f"there are {sum(balances.values())} cents, and there were {total}")
    applied = sum((number, "deposited") in steps for number in orders)
    refused = sum((number, "refused") in steps for number in orders)
    return Audit(balances, applied, refused, lines, problems)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written to their ends."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def expected(order: Transfer, what: str) -> tuple[str, int]:
    """The account that does a step of this transfer, and what it changes there."""
    if what == "deposited":
        return order.target, order.cents
    return order.source, -order.cents if what == "withdrawn" else 0
