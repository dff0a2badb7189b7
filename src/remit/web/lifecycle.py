"""What befalls people and agents as a whole over HTTP: a departure."""

from remit.services import departures
from remit.web.job import Answer, Job, Route


async def depart(job: Job) -> Answer:
    """A person leaves."""
    return await departures.depart(job.deps, await job.person(), job.path["id"], job.body)


ROUTES = (Route("POST", "/v1/people/{id}/depart", "person", depart, "a person leaves", "DepartRequest", "Departed"),)
