"""The API of the onboarding path and milestones."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.ids import SupplierId
from everafter.core.openapi import problems
from everafter.core.web import AnyRequest, scope
from everafter.onboarding.model import (
    ActionAnswer,
    ActionRequest,
    MilestoneAnswer,
    MilestoneRequest,
    MilestonesAnswer,
    OnboardingAnswer,
)
from everafter.onboarding.queries import (
    keep_action,
    list_milestones,
    list_progress,
    record_milestone,
    record_reached,
)
from everafter.onboarding.rules import answer_of, check_done_at, check_milestone, with_action
from everafter.playbook.model import Playbook
from everafter.suppliers.queries import get_external_id

TAGS = ["Success"]
LanguageTag = Annotated[
    str,
    QueryParameter(max_length=35, description="BCP 47, such as `de`; default: the playbook's own."),
]


@post(
    "/api/success/milestone",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordMilestone",
    exception_handlers=BODY_ERRORS,
    summary="Record a milestone",
    response_description="Recorded.",
    responses={
        200: ResponseSpec(
            MilestoneAnswer, generate_examples=False, description="It was recorded already."
        )
    }
    | problems(
        not_found="there is no such supplier",
        conflict="a request with this Idempotency-Key is in progress",
        unprocessable_entity="a time in the future or before 2000; or the Idempotency-Key was used"
        " with another body",
    ),
)
async def post_milestone(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[MilestoneRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[MilestoneAnswer]:
    """201 when it is new, 200 when it was recorded already. Of two times the earlier is kept."""
    achieved_at = check_milestone(data.milestone_type, data.achieved_at, datetime.now(UTC))

    async def effect() -> tuple[int, MilestoneAnswer]:
        new, at, celebrated = await record_milestone(
            conn, data.supplier_id, data.milestone_type, achieved_at
        )
        external_id = await get_external_id(conn, data.supplier_id)
        answer = _answer(
            state.playbook, data.supplier_id, external_id, data.milestone_type, at, celebrated
        )
        return 201 if new else 200, answer

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/success/milestones/{supplier_id:str}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listMilestones",
    summary="List a supplier's milestones",
    responses=problems(not_found="there is no such supplier"),
)
async def get_milestones(
    conn: NamedDependency[Connection], state: State, supplier_id: FromPath[SupplierId]
) -> MilestonesAnswer:
    """The earliest first."""
    found = await list_milestones(conn, supplier_id)
    external_id = await get_external_id(conn, supplier_id)
    return MilestonesAnswer(
        [_answer(state.playbook, supplier_id, external_id, *milestone) for milestone in found]
    )


@get(
    "/api/success/onboarding/{supplier_id:str}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="getOnboarding",
    summary="Get a supplier's onboarding path",
    responses=problems(not_found="there is no such supplier, or it has cancelled"),
)
async def get_onboarding(
    conn: NamedDependency[Connection],
    state: State,
    supplier_id: FromPath[SupplierId],
    language: LanguageTag = "en",
) -> OnboardingAnswer:
    """The steps with their days and actions, as of now. Titles and hints are in `language` if the
    playbook has it."""
    row = await state.live.score(supplier_id)
    return answer_of(row, state.playbook, await list_progress(conn, supplier_id), language)


@post(
    "/api/success/onboarding/{supplier_id:str}/actions",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="reportOnboardingAction",
    exception_handlers=BODY_ERRORS,
    summary="Report an action of the onboarding path",
    response_description="Recorded.",
    responses={
        200: ResponseSpec(
            ActionAnswer, generate_examples=False, description="It was recorded already."
        )
    }
    | problems(
        not_found="there is no such supplier, or it has cancelled",
        conflict="a request with this Idempotency-Key is in progress",
        unprocessable_entity="an action that the path does not have, a time in the future or before"
        " 2000; or the Idempotency-Key was used with another body",
    ),
)
async def post_action(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    supplier_id: FromPath[SupplierId],
    data: JSONBody[ActionRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[ActionAnswer]:
    """For actions that have no event of their own. Of two times the earlier is kept. Milestones
    that are reached with the action are recorded."""
    now = datetime.now(UTC)
    playbook: Playbook = state.playbook
    done_at = check_done_at(data.done_at, now)

    async def effect() -> tuple[int, ActionAnswer]:
        scored = with_action(await state.live.score(supplier_id), playbook, data.action, now)
        new, at = await keep_action(conn, supplier_id, data.action, done_at)
        reached = [milestone for _, milestone in await record_reached(conn, scored, playbook, now)]
        external_id, path_state = (
            await get_external_id(conn, supplier_id),
            scored["onboarding_state"].item(),
        )
        return 201 if new else 200, ActionAnswer(
            supplier_id, external_id, data.action, at, path_state, reached
        )

    return await answer_once(request, conn, idempotency_key, effect)


def _answer(
    playbook: Playbook,
    supplier_id: UUID,
    external_id: str | None,
    milestone_type: str,
    achieved_at: datetime,
    celebrated: bool,
) -> MilestoneAnswer:
    known = playbook.milestones.get(milestone_type)
    title = known.title if known else None
    return MilestoneAnswer(supplier_id, external_id, milestone_type, title, achieved_at, celebrated)


handlers = [post_milestone, get_milestones, get_onboarding, post_action]
