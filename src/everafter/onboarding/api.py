"""Milestones: what a supplier has achieved."""

from datetime import UTC, datetime
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody

from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.openapi import problems
from everafter.core.web import AnyRequest, scope
from everafter.onboarding.model import MilestoneAnswer, MilestoneRequest, MilestonesAnswer
from everafter.onboarding.queries import list_milestones, record_milestone
from everafter.onboarding.rules import check_milestone
from everafter.playbook.model import Playbook

TAGS = ["Success"]


@post(
    "/api/success/milestone",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordMilestone",
    exception_handlers=BODY_ERRORS,
    summary="Record an achievement",
    response_description="Recorded now.",
    responses={200: ResponseSpec(MilestoneAnswer, generate_examples=False, description="It was already there.")}
    | problems(
        not_found="there is no such supplier",
        conflict="the Idempotency-Key is in flight",
        unprocessable_entity="a time in the future or before 2000; or the Idempotency-Key came with another body",
    ),
)
async def post_milestone(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[MilestoneRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[MilestoneAnswer]:
    """201 when it is new, 200 when it was already there; of two times the earlier is kept."""
    achieved_at = check_milestone(data.milestone_type, data.achieved_at, datetime.now(UTC))

    async def effect() -> tuple[int, MilestoneAnswer]:
        new, at, celebrated = await record_milestone(conn, data.supplier_id, data.milestone_type, achieved_at)
        answer = _answer(state.playbook, data.supplier_id, data.milestone_type, at, celebrated)
        return 201 if new else 200, answer

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/success/milestones/{supplier_id:uuid}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listMilestones",
    summary="A supplier's achievements",
    responses=problems(not_found="there is no such supplier"),
)
async def get_milestones(conn: NamedDependency[Connection], state: State, supplier_id: FromPath[UUID]) -> MilestonesAnswer:
    """The first one first."""
    found = await list_milestones(conn, supplier_id)
    return MilestonesAnswer([_answer(state.playbook, supplier_id, *milestone) for milestone in found])


def _answer(playbook: Playbook, supplier_id: UUID, milestone_type: str, achieved_at: datetime, celebrated: bool) -> MilestoneAnswer:
    known = playbook.milestones.get(milestone_type)
    return MilestoneAnswer(supplier_id, milestone_type, known.title if known else None, achieved_at, celebrated)


handlers = [post_milestone, get_milestones]
