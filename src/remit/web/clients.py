"""OAuth clients over HTTP, and links by which people sign in to a page."""

from remit.core.people import Person
from remit.core.times import to_text
from remit.services import clients, signing_in
from remit.services.deps import require
from remit.services.registry import find
from remit.web.job import PAGED, Answer, Job, Made, Route, page


async def list_clients(job: Job) -> Answer:
    """Every client."""
    return page(job, await clients.list_all(job.deps, await job.person()), "id")


async def add_client(job: Job) -> Answer:
    """A new client."""
    return Made(await clients.add(job.deps, await job.person(), job.body))


async def show_client(job: Job) -> Answer:
    """One client."""
    return await clients.get(job.deps, await job.person(), job.path["id"])


async def move_client(job: Job) -> Answer:
    """Retire a client."""
    if job.text("state") != "retired":
        return await clients.get(job.deps, await job.person(), job.path["id"])
    return await clients.retire(job.deps, await job.person(), job.path["id"])


async def renew_secret(job: Job) -> Answer:
    """A new secret beside the old one."""
    return await clients.renew_secret(job.deps, await job.person(), job.path["id"])


async def make_link(job: Job) -> Answer:
    """A link that signs a person in once: one's own, or for an administrator anybody's."""
    caller = await job.person()
    async with job.deps.store.view(job.deps.org) as view:
        person = await find(view, Person, job.path["id"])
    if person.id != caller.person.id:
        require(caller, "administrator")
    secret = await signing_in.link(job.deps, person)
    ends = to_text(job.deps.clock.now() + signing_in.LINK_LIFE)
    return Made({"link": f"{job.deps.issuer}/sign-in#{secret}", "expires_at": ends})


async def rotate_token_keys(job: Job) -> Answer:
    """Another key for tokens."""
    return Made(await job.doors.rotate(await job.person()))


ROUTES = (
    Route("GET", "/v1/clients", "person", list_clients, "all OAuth clients", gives="Page", query=PAGED),
    Route("POST", "/v1/clients", "person", add_client, "a new OAuth client", "Client", "Client"),
    Route("GET", "/v1/clients/{id}", "person", show_client, "one OAuth client", gives="Client"),
    Route("PATCH", "/v1/clients/{id}", "person", move_client, "retire", "StateRequest", "Client"),
    Route("POST", "/v1/clients/{id}/secret", "person", renew_secret, "a new secret", "TokenRequest", "Client"),
    Route("POST", "/v1/token-keys", "person", rotate_token_keys, "another key for tokens", "TokenRequest", "TokenKey"),
    Route("POST", "/v1/people/{id}/link", "person", make_link, "a link to sign in with", "TokenRequest", "SignInLink"),
)
