"""What the simulator has found in the runtime, by the schedules that showed it."""

from __future__ import annotations

import pytest

from tests.simulation.apps import Letters, Watches
from tests.simulation.apps_of_clusters import Presses
from tests.simulation.apps_of_routing import Claims
from transports.testing import Application, Fault, Faults, simulate
from transports.testing.faults import KINDS
from transports.testing.plan import Chance
from transports.testing.schedulers import Kind


@pytest.mark.parametrize(
    ("app", "seed", "scheduler", "faults"),
    [
        pytest.param(
            Letters,
            17,
            "pct",
            ["pause n2 at 2.214 for 5.112"],
            id="a connection that another one has replaced goes on reading",
        ),
        pytest.param(
            Claims,
            69,
            "fair",
            [
                "delay n1->client ACK #3 by 0.6269",
                "part-one-way client->n1 at 1.0422 for 6.522",
                "slow n2->n1 at 1.346 for 7.848 by 0.096",
                "drop n1->n2 ACK #6",
                "part-one-way n1->n2 at 8.6945 for 10.309",
                "pause n1 at 8.9261 for 7.51",
                "slow client->n1 at 18.085 for 1.594 by 0.028",
                "part-one-way n1->client at 18.4151 for 0.393",
                "delay client->n2 DATA #32 by 0.9193",
                "part-one-way n1->client at 20.026 for 10.957",
                "delay client->n1 DATA #36 by 0.606",
            ],
            id="a handshake ends though the peer was given up within it",
        ),
        pytest.param(
            Watches,
            1,
            "fair",
            ["crash n2 at 5.0881 for 0.118"],
            id="a node that is being left is asked to watch",
        ),
        pytest.param(
            Presses,
            27,
            "fair",
            ["pause n2 at 0.2517 for 0.667", "pause n2 at 2.2685 for 3.277"],
            id="an owner is made anew after its lease",
        ),
    ],
)
def test_what_was_found_once_is_not_found_again(
    app: type[Application], seed: int, scheduler: Kind, faults: list[str]
) -> None:
    assert simulate(app, seed=seed, faults=faults, scheduler=scheduler).error is None


def test_the_text_of_every_kind_of_fault_is_its_identity() -> None:
    for kind in KINDS:
        name = {"raise": "fail"}.get(kind, kind.replace("-", "_"))
        plan = Chance(1, Faults.only(**{name: 1.0}))
        found = [
            plan.on_frame("n1->n2", "DATA", 17),
            plan.on_step("actor://n1/bank", "receive", 3),
            plan.on_start("n1", 2),
            plan.on_store("n1", "UPDATE", 3),
            plan.on_store("engine", "EXPIRY", 3),
            *plan.in_period(4, ["n1", "n2"], ["n1", "n2"]),
            *plan.of_engine(4, ["n1", "n2"]),
        ]
        fired = [fault for fault in found if fault is not None]
        assert {fault.kind for fault in fired} == {kind}
        assert [str(Fault.parse(str(fault))) for fault in fired] == [str(each) for each in fired]
