"""What the tests of several stores do with the drivers below them."""

from collections.abc import Callable
from typing import Any


class Counted:
    """A client of Amazon's that notes its operations, how many are under way at once, and answers some of them itself."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self.client = client
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.running = self.most = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)
        if name == "meta":
            return operation

        async def counted(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                answer = self.answers.get(name)
                return await operation(**parameters) if answer is None else await answer(operation, **parameters)
            finally:
                self.running -= 1

        return counted

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]
