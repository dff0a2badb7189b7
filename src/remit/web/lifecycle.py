"""What befalls people and agents as a whole over HTTP: blueprints, and a departure."""

from remit.services import blueprints, departures
from remit.web.job import PAGED, Answer, Job, Made, Route, page


async def list_blueprints(job: Job) -> Answer:
    """Every blueprint."""
    return page(job, await blueprints.list_all(job.deps, await job.person()), "id")


async def apply_blueprint(job: Job) -> Answer:
    """A new blueprint, or another version."""
    return Made(await blueprints.apply(job.deps, await job.person(), job.body))


async def show_blueprint(job: Job) -> Answer:
    """One blueprint, with its instances."""
    return await blueprints.get(job.deps, await job.person(), job.path["id"])


async def retire_blueprint(job: Job) -> Answer:
    """The end of a blueprint and of its instances."""
    return await blueprints.retire(job.deps, await job.person(), job.path["id"], job.body)


async def depart(job: Job) -> Answer:
    """A person leaves."""
    return await departures.depart(job.deps, await job.person(), job.path["id"], job.body)


ROUTES = (
    Route("GET", "/v1/blueprints", "person", list_blueprints, "all blueprints", gives="Page", query=PAGED),
    Route("POST", "/v1/blueprints", "person", apply_blueprint, "new, or another version", "Blueprint", "Blueprint"),
    Route("GET", "/v1/blueprints/{id}", "person", show_blueprint, "one blueprint", gives="Blueprint"),
    Route(
        "POST",
        "/v1/blueprints/{id}/retire",
        "person",
        retire_blueprint,
        "its end and its instances'",
        "RetireRequest",
        "Blueprint",
    ),
    Route("POST", "/v1/people/{id}/depart", "person", depart, "a person leaves", "DepartRequest", "Departed"),
)
