"""What the actors of the bank say to each other."""

from actors import Request, message


@message(name="bank.Withdraw")
class Withdraw(Request[bool]):
    """Take money for a transfer; the reply says whether there was enough. Twice is once."""

    transfer: int
    cents: int


@message(name="bank.Deposit")
class Deposit(Request[bool]):
    """Add the money of a transfer. Twice is once."""

    transfer: int
    cents: int


@message(name="bank.Balance")
class Balance(Request[int]):
    """How many cents are in the account?"""


@message(name="bank.Transfer")
class Transfer(Request[bool]):
    """Move money; the reply says whether there was enough. Twice is once."""

    number: int
    source: str
    target: str
    cents: int


@message(name="bank.CarryOn")
class CarryOn:
    """To itself: finish what an earlier incarnation had begun."""

    transfer: Transfer
