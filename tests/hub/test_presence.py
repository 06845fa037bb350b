"""The application is told who is there: alternately, in order, and without ghosts (contract, G8)."""

from __future__ import annotations

import pytest
from tests.hub.stage import GRACE, Recording, Stage

from pushline.errors import ConnectionEnded, StoreError
from pushline.hub import IN_TIME_SECONDS, SETTLE_AT_ONCE, SWEEP_SECONDS
from pushline.messages import Append, Policy
from pushline.protocol.codes import TOKEN_EXPIRED, TOO_MANY
from pushline.stores.base import Accepted, Notice, NoticeList, Room, Settle, Store
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock


@pytest.fixture
def stage() -> Stage:
    return Stage(presence=True)


def next_life(stage: Stage, store: Store | None = None, *, after: float = 0.0) -> Stage:
    """Another process on the same store, some seconds after the end of the one before."""
    return Stage(store or stage.store, FakeClock(stage.clock.now() + after), presence=True)


class TestOnePage:
    def test_is_told_when_it_has_come_and_after_the_grace_when_it_has_gone(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        assert stage.heard() == [True]
        page.drop()
        stage.clock.advance(GRACE - 0.01)
        assert stage.heard() == [True]
        stage.clock.advance(0.02)
        assert stage.heard() == [True, False]

    @pytest.mark.parametrize("orderly", [True, False])
    def test_a_reload_within_the_grace_tells_nothing(self, stage: Stage, orderly: bool) -> None:
        token = stage.create()
        stage.connect(token).drop(orderly=orderly)
        stage.clock.advance(GRACE - 0.1)
        stage.connect(token, "another")
        stage.clock.advance(10 * GRACE)
        assert stage.heard() == [True]

    def test_the_grace_runs_from_its_last_going(self, stage: Stage) -> None:
        token = stage.create()
        stage.connect(token).drop(orderly=True)
        stage.clock.advance(1)
        stage.connect(token).drop(orderly=True)
        stage.clock.advance(GRACE - 0.5)  # the grace of its first going is over
        assert stage.heard() == [True]
        stage.clock.advance(1)
        assert stage.heard() == [True, False]

    def test_what_was_left_by_a_frame_is_told_as_well(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.say("leave", id="")
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]

    def test_one_that_vanishes_without_a_word_is_found_out(self, stage: Stage) -> None:
        stage.connect(stage.create())
        stage.clock.advance(25 + 10 + GRACE - 0.1)
        assert stage.heard() == [True]
        stage.clock.advance(0.3)
        assert stage.heard() == [True, False]

    def test_a_takeover_and_a_change_of_transport_tell_nothing(self, stage: Stage) -> None:
        token = stage.create()
        stage.connect(token, "p")
        stage.connect(token, "p")
        last = stage.connect(token, "q")
        stage.clock.advance(20)
        assert stage.heard() == [True]
        last.drop()
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]

    def test_a_fresh_token_tells_nothing(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=60))
        page.say("token", token=stage.create(seconds=600))
        stage.clock.advance(20)
        assert stage.heard() == [True]

    def test_the_end_of_its_token_is_the_end_of_it(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=60))
        for _ in range(6):
            stage.clock.advance(10)
            if page.connected:
                page.acknowledge("")
        stage.clock.advance(1)
        assert page.code == TOKEN_EXPIRED
        stage.clock.advance(10 * SWEEP_SECONDS)  # its channel has ended, and is still known
        assert stage.heard() == [True, False]

    def test_sequences_increase_and_are_microseconds(self, stage: Stage) -> None:
        token = stage.create()
        for _ in range(3):
            stage.connect(token).drop()
            stage.clock.advance(GRACE)
        sequences = [notice.sequence for notice in stage.told]
        assert sequences == sorted(set(sequences))
        assert sequences[0] == 1_700_000_000_000_000
        assert stage.told[-1].time == pytest.approx(stage.clock.now())

    def test_a_page_that_is_gone_before_it_is_open_leaves_no_ghost(self, stage: Stage) -> None:
        stage.connect(stage.create(), gone=True)
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]

    def test_one_that_is_refused_is_not_told(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.REJECT)
        holder = stage.connect(token, "p")
        stage.connect(token, "q")
        holder.acknowledge("")
        stage.clock.advance(5)
        assert stage.heard() == [True]

    def test_nothing_is_told_where_nobody_listens(self) -> None:
        stage = Stage()
        stage.connect(stage.create()).drop()
        stage.clock.advance(GRACE)
        assert stage.told == []
        assert stage.store.notices(0, 10) == next_life(stage).store.notices(0, 10)


class TestWhatTheHandlerSends:
    """P3."""

    def test_reaches_the_page(self, stage: Stage) -> None:
        statuses: list[str] = []

        def handle(notice: Notice) -> None:
            stage.hub.send(
                Append(notice.client_id, b"welcome"),
                lambda id, status: statuses.append(status),
                stage.answers.failed.append,
            )
            stage.hear(notice)

        stage.hub.announce = handle
        page = stage.connect(stage.create())
        assert statuses == ["sent"]
        assert page.texts == ["welcome"]


class TestSharedChannels:
    def test_the_first_and_the_last_page_are_told(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        pages = [stage.connect(token, f"p{n}") for n in range(3)]
        for page in pages:
            page.drop()
            stage.clock.advance(1)
        assert stage.heard() == [True]
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]

    def test_the_newer_connection_of_a_page_counts_for_the_older_one(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        stage.connect(token, "p")
        page = stage.connect(token, "p")
        page.drop(orderly=True)
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]


class TestACrash:
    def test_exactly_what_is_missing_is_told(self, stage: Stage) -> None:
        tokens = {name: stage.create(name) for name in ("ann", "bob", "cid")}
        for name in ("ann", "bob"):
            stage.connect(tokens[name], name)
        stage.clock.advance(IN_TIME_SECONDS)
        after = next_life(stage, after=60)
        after.connect(tokens["ann"], "ann", "1-0")
        after.connect(tokens["cid"], "cid")
        after.clock.advance(GRACE + 1)
        assert [(notice.client_id, notice.connected) for notice in after.told] == [("cid", True), ("bob", False)]

    def test_between_going_and_telling(self, stage: Stage) -> None:
        stage.connect(stage.create()).drop(orderly=True)
        stage.clock.advance(GRACE / 2)
        after = next_life(stage)
        after.clock.advance(GRACE + 0.1)
        assert after.heard() == [False]

    def test_what_was_not_accepted_is_told_again(self, stage: Stage) -> None:
        stage.deaf = True
        stage.connect(stage.create())
        after = next_life(stage)
        after.clock.turn()
        assert after.told == stage.told
        after.clock.advance(GRACE + 0.1)
        assert after.heard() == [True, False]

    def test_in_share_the_pages_of_the_dead_do_not_count(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        for n in range(3):
            stage.connect(token, f"p{n}")
        after = next_life(stage)
        page = after.connect(token, "p1")
        after.clock.advance(GRACE + 0.1)
        assert after.heard() == []
        page.drop()
        after.clock.advance(GRACE)
        assert after.heard() == [False]

    @pytest.mark.parametrize("presence", [True, False])
    def test_a_place_that_was_held_through_it_is_free_after_the_grace(self, presence: bool) -> None:
        stage = Stage(presence=presence)
        token = stage.create(policy=Policy.REJECT)
        stage.connect(token, "p")
        after = Stage(stage.store, FakeClock(stage.clock.now()), presence=presence)
        after.clock.advance(GRACE + 0.1)
        assert after.connect(token, "q").connected

    def test_many_are_settled_a_few_at_a_time(self) -> None:
        recording = Recording()
        stage = Stage(recording, presence=True)
        for n in range(2 * SETTLE_AT_ONCE + 5):
            stage.connect(stage.create(f"c{n}"))
        stage.clock.advance(IN_TIME_SECONDS)
        after = next_life(stage)
        recording.commits.clear()
        after.clock.advance(GRACE + 1)
        assert len(after.told) == 2 * SETTLE_AT_ONCE + 5
        settling = [sum(isinstance(operation, Settle) for operation in commit) for commit in recording.commits]
        assert max(settling) == SETTLE_AT_ONCE


class TestARestart:
    def test_pages_that_come_back_when_they_were_asked_tell_nothing(self, stage: Stage) -> None:
        token = stage.create()
        stage.connect(token)
        stage.hub.close(20.0)
        stage.hub.finish()
        after = next_life(stage, after=2.0)
        after.clock.advance(17.0)  # longer than the grace, and before the moment that it may have been given
        after.connect(token)
        after.clock.advance(60)
        page = stage.told
        assert [notice.connected for notice in page] == [True]
        assert after.heard() == [False]  # nobody answered its pings

    def test_those_that_do_not_are_told(self, stage: Stage) -> None:
        stage.connect(stage.create())
        stage.hub.close(20.0)
        after = next_life(stage, after=2.0)
        after.clock.advance(18 + GRACE - 0.1)
        assert after.heard() == []
        after.clock.advance(0.3)
        assert after.heard() == [False]

    def test_a_page_that_is_told_to_come_later_has_the_grace_from_then(self) -> None:
        stage = Stage(presence=True, connect_rate=1.0)
        tokens = [stage.create(f"c{n}") for n in range(8)]
        pages = [stage.connect(tokens[0])]
        refused = 0
        pages[0].drop()
        for n in range(1, 8):
            try:
                stage.connect(tokens[n])
            except ConnectionEnded as ended:
                refused += ended.code == TOO_MANY
        assert refused
        with pytest.raises(ConnectionEnded, match=str(TOO_MANY)):
            stage.connect(tokens[0])
        stage.clock.advance(GRACE + 0.1)
        assert stage.heard("c0") == [True]
        stage.clock.advance(10)
        assert stage.heard("c0") == [True, False]


class TestTwoHubs:
    @pytest.fixture
    def stages(self) -> tuple[Stage, Stage]:
        store, clock = MemoryStore(), FakeClock()
        return Stage(store.peer(), clock, presence=True), Stage(store.peer(), clock, presence=True)

    def test_a_page_that_moves_to_the_other_one_tells_nothing(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        one.connect(token).drop()
        two.connect(token)
        one.clock.advance(10)
        assert one.heard() + two.heard() == [True]

    def test_going_here_and_there_is_not_told_too_early(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        one.connect(token).drop(orderly=True)
        one.clock.advance(1)
        two.connect(token).drop(orderly=True)
        one.clock.advance(GRACE - 0.5)
        assert one.heard() + two.heard() == [True]
        one.clock.advance(1)
        assert one.heard() + two.heard() == [True, False]

    def test_one_delivers_for_a_client_id_at_a_time(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        one.deaf = True
        token = one.create()
        one.connect(token).drop(orderly=True)
        two.connect(token).drop(orderly=True)
        one.clock.advance(GRACE)
        assert (one.heard(), two.heard()) == ([True], [])
        one.hub.accepted(one.told[0])
        one.clock.advance(IN_TIME_SECONDS)
        assert (one.heard(), two.heard()) == ([True, False], [])

    def test_what_a_dead_one_left_behind_is_told_by_the_other(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        one.deaf = True
        one.connect(one.create())
        one.store.close()
        one.hub.closing = True  # nothing is heard of it any more
        two.clock.advance(SWEEP_SECONDS + GRACE + 0.1)
        assert two.heard() == [True, False]


class TestAStoreThatFails:
    def test_what_it_did_not_keep_is_settled_later(self) -> None:
        recording = Recording()
        stage = Stage(recording, presence=True)
        page = stage.connect(stage.create())
        recording.error = StoreError("it fails")
        page.drop()
        stage.clock.advance(GRACE + 0.1)
        assert stage.heard() == [True]
        recording.error = None
        stage.clock.advance(SWEEP_SECONDS)
        assert stage.heard() == [True, False]

    def test_what_was_accepted_is_noted_later(self) -> None:
        recording = Recording()
        stage = Stage(recording, presence=True)
        stage.deaf = True
        page = stage.connect(stage.create())
        recording.error = StoreError("it fails")
        stage.hub.accepted(stage.told[0])
        stage.clock.advance(IN_TIME_SECONDS)
        assert stage.hub.counters.commits_failed == 1
        recording.error = None
        page.drop()
        stage.clock.advance(GRACE + SWEEP_SECONDS)
        assert stage.heard() == [True, False]

    def test_without_room_a_change_is_told_when_there_is_some(self) -> None:
        stage = Stage(MemoryStore(room=Room(notices=2)), presence=True)
        stage.deaf = True
        for name in ("ann", "bob", "cid", "dan"):
            stage.connect(stage.create(name), name)
        assert [notice.client_id for notice in stage.told] == ["ann", "bob"]
        stage.deaf = False
        stage.hub.accepted(stage.told[0])
        stage.clock.advance(2 * IN_TIME_SECONDS)
        assert sorted(notice.client_id for notice in stage.told) == ["ann", "bob", "cid", "dan"]


class TestWhatIsAccepted:
    """It joins another commit, within :data:`IN_TIME_SECONDS`."""

    @pytest.fixture
    def recording(self) -> Recording:
        return Recording()

    @pytest.fixture
    def stage(self, recording: Recording) -> Stage:
        return Stage(recording, presence=True)

    def test_goes_with_the_next_commit_and_comes_first(self, stage: Stage, recording: Recording) -> None:
        stage.connect(stage.create())
        notice = stage.told[0]
        assert stage.store.notices_of("ann") == [notice]
        stage.send()
        accepted, append = recording.commits[-1]
        assert (accepted, type(append)) == (Accepted("ann", notice.sequence), Append)
        assert stage.store.notices_of("ann") == []
        commits = len(recording.commits)
        stage.clock.advance(1)
        assert len(recording.commits) == commits

    def test_has_a_commit_of_its_own_when_there_is_no_other(self, stage: Stage, recording: Recording) -> None:
        for name in ("ann", "bob"):
            stage.connect(stage.create(name), name)
        assert stage.told[1].client_id == "bob"
        commits = len(recording.commits)
        stage.clock.advance(IN_TIME_SECONDS)
        assert recording.commits[commits:] == [[Accepted("bob", stage.told[1].sequence)]]

    def test_is_kept_before_anybody_looks(self, stage: Stage) -> None:
        stage.connect(stage.create())
        found: list[object] = []
        stage.hub.notices_of("ann", found.append, stage.answers.failed.append)
        stage.connect(stage.create("bob"), "bob")
        stage.hub.list_notices(0, 10, found.append, stage.answers.failed.append)
        assert found == [[], NoticeList([], 0, 0)]

    def test_is_kept_at_the_end(self, stage: Stage) -> None:
        stage.connect(stage.create())
        stage.hub.close(1.0)
        stage.hub.finish()
        assert stage.store.notices_of("ann") == []


class TestWhatIsGivenUp:
    def test_is_kept_and_can_be_told_again(self, stage: Stage) -> None:
        stage.deaf = True
        stage.connect(stage.create())
        stage.hub.give_up(stage.told[0], "status 500")
        stage.clock.turn()
        listed = stage.store.notices_of("ann")
        assert [notice.given_up for notice in listed] == ["status 500"]
        counts: list[int] = []
        stage.hub.retry(None, counts.append, stage.answers.failed.append)
        stage.clock.turn()
        assert counts == [1]
        assert stage.heard() == [True, True]
        assert stage.told[0].sequence == stage.told[1].sequence

    def test_the_next_told_is_the_state_at_that_time(self, stage: Stage) -> None:
        stage.deaf = True
        token = stage.create()
        for _ in range(3):
            stage.connect(token).drop()
            stage.clock.advance(GRACE)
        stage.hub.give_up(stage.told[0], "no connection")
        stage.clock.turn()
        assert stage.heard() == [True, False]


class TestWhatTheApplicationEnds:
    """A4."""

    def end(self, stage: Stage, how: str, client_id: str = "ann") -> None:
        done: list[bool] = []
        act = stage.hub.revoke if how == "revoke" else stage.hub.dismiss
        act(client_id, lambda: done.append(True), stage.answers.failed.append)
        stage.clock.turn()
        assert done == [True]

    @pytest.mark.parametrize(("how", "code"), [("revoke", 4410), ("disconnect", 4411)])
    def test_every_connection_ends_at_once(self, stage: Stage, how: str, code: int) -> None:
        token = stage.create(policy=Policy.SHARE)
        pages = [stage.connect(token, f"p{n}") for n in range(2)]
        other = stage.connect(stage.create("bob"))
        self.end(stage, how)
        assert [page.code for page in pages] == [code, code]
        assert other.connected
        stage.clock.advance(GRACE)
        assert stage.heard() == [True, False]

    @pytest.mark.parametrize(("how", "code"), [("revoke", 4410), ("disconnect", 4411)])
    def test_at_every_hub(self, how: str, code: int) -> None:
        store, clock = MemoryStore(), FakeClock()
        one, two = Stage(store.peer(), clock), Stage(store.peer(), clock)
        page = two.connect(one.create())
        self.end(one, how)
        assert page.code == code

    def test_a_token_that_was_revoked_connects_nothing(self, stage: Stage) -> None:
        token = stage.create()
        self.end(stage, "revoke")
        assert stage.connect(token).code == 4401
        assert stage.send() == "no_channel"
        fresh = stage.create()
        assert stage.connect(token).code == 4401
        assert stage.connect(fresh).connected

    def test_one_that_was_disconnected_is_good(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.REJECT)
        stage.connect(token, "p")
        self.end(stage, "disconnect")
        assert stage.connect(token, "q").connected

    def test_a_page_does_not_go_on_with_a_revoked_token(self, stage: Stage) -> None:
        old = stage.create()
        self.end(stage, "revoke")
        page = stage.connect(stage.create())
        page.say("token", token=old)
        stage.clock.turn()
        assert page.code == 4401

    def test_a_store_that_does_not_know_the_client_id_remembers_it(self, stage: Stage) -> None:
        token = stage.create()
        lost = Stage(MemoryStore(), FakeClock(stage.clock.now() + 1), presence=True)
        self.end(lost, "revoke")
        assert lost.connect(token).code == 4401

    def test_what_was_revoked_is_remembered_as_long_as_its_tokens_live(self, stage: Stage) -> None:
        token = stage.create(seconds=86400)
        self.end(stage, "revoke")
        stage.clock.advance(86_390)
        assert stage.connect(token).code == 4401
        stage.clock.advance(60)
        entries = stage.store.clients("", "", None, 10, stage.clock.now())
        assert entries.entries == []  # type: ignore[union-attr]
        assert not stage.store._ledger.channels  # type: ignore[attr-defined]
