"""Come in here for how the documents of a file are sent, one after the other, and what is said when one is refused."""

from collections.abc import Awaitable, Callable, Sequence

from remit.cli.commands import Invocation
from remit.cli.files import FileDocument
from remit.core.errors import RemitError
from remit.sdk.client import Document


async def apply_all(
    job: Invocation, documents: Sequence[FileDocument], send: Callable[[FileDocument], Awaitable[Document]]
) -> list[Document]:
    """Send each document in order; the answers. Stops at the first refusal, which then names file, line and member.

    Each document is its own change, so those before a refused one stay: a note says how many.
    """
    made: list[Document] = []
    for document in documents:
        try:
            made.append(await send(document))
        except RemitError as error:
            if made:
                job.out.note(f"{len(made)} of {len(documents)} documents were applied before this one, and stay.")
            raise document.located(error) from error
    return made
