"""A model of who lives, who has the queue and who runs which job, small enough to visit every state it can be in.

Breadth first from an idle machine with due jobs: every order of steps, and any number of faults between any two. Each
step stands for one thing that the code does at once, or that the kernel does:

| step | in the code |
|---|---|
| start | `cli.run.tick` has opened the `life.LifeFile`, and has not asked for the queue yet |
| take, line up, exit, give up | `cli.run._take_or_line_up`: `lock.QueueLock.take`, `life.LifeFile.hold` of byte 0 |
| insert, hold byte, free byte 0 | `runner.Runner._take`, `store.runners.RunnerStore.start` |
| look, kill, settle, leave, drop | `aftermath.Aftermath.rescue`: `life.LifeFile.is_held`, `process.end_group`, settle |
| fork | `runner.Runner._employ`, `crew.Crew.fork` |
| time out | `crew.Crew.kill_overdue` |
| kill the rest, settle crash | `crew.Crew.reap`, `runner.Runner._take_leave`, `aftermath.Aftermath.settle` |
| hand over | `runner.Runner._decide`: byte 0 is held or a newer runner has a number; `runner.Runner._retire` |
| end | `runner.Runner._end`, `lock.QueueLock.give_back`; a worker's: `worker.Worker._work` returns |
| claim | `worker.Worker._claim`: `sql.CLAIM` with its two guards, in one transaction |
| succeed, retry, drop | `worker.Worker._run`: `settlement.settle`; the claim in its transaction is a step apart here |
| gone | the kernel has done with the last process of a group that was killed |
| follow | PDEATHSIG, set by `child._die_with`, goes to the worker alone: what its job had started may live on |

Where the code decides by a look that may be out of date when it acts (is anything due, how many jobs are running, was
the worker asked to stop?), the model may go either way, so what holds here needs no such look to be right.

A process may pause for ever long between any two of its steps, which is all that SIGSTOP and SIGCONT do; `stops` adds a
worker that is stopped for good. (A runner, or a newcomer in line, that is stopped holds the queue up until it goes on.)
A runner whose life file was deleted can't be seen to live: others may end its jobs, though never run them beside it.

Left out: SIGTERM, `--job`, `--in-process`, the doorman (it only ever exits), a stop between a claim and the first line
of the job, the five seconds after which a runner no longer waits for the rest of its own worker's group, and a database
that is deleted or replaced: its runner retires and frees its byte, and the runners of the new file are none of its own.
"""

from __future__ import annotations

import gc
import operator
from array import array
from itertools import permutations, product
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Thing = TypeVar("Thing")

# What a runner has come to; ABSENT: there is no such process.
ABSENT, READY, IN_LINE, TAKEN, NUMBERED, HOLDING, WORKING, RETIRED = range(8)
# What a worker is at. LEFTOVER: it is gone, but not a process that its job has started. DYING: all were sent SIGKILL.
FREE, RUNNING, LEFTOVER, DYING = range(1, 5)
# The queue lock of a runner: none, that of the file at the path, or of one that was deleted.
NONE, CURRENT, DELETED = range(3)
# Whose a worker or a row is, if it is no living runner's. LATE: a dead one's that has the newest number.
NOBODY, DEAD, LATE = -1, -2, -3


class Rescue(NamedTuple):
    """A row that a runner found to be a dead runner's, as it was then."""

    job: int
    owner: int
    worker: int
    killed: bool


class Runner(NamedTuple):
    """A process of `background_runner.py`."""

    phase: int
    life: int  # the life file that it has open; 0 is the one at the path, the others were deleted
    lock: int
    in_line: bool  # it holds byte 0
    rescuing: Rescue


class Worker(NamedTuple):
    """A worker and its process group."""

    phase: int
    owner: int
    job: int
    stopped: bool


class Row(NamedTuple):
    """A job; while it is processing, which runner's and which worker's it is (NOBODY once the group is gone)."""

    status: int
    owner: int
    worker: int


class State(NamedTuple):
    """The whole machine. Processes and jobs are known by their places; a place may be used again."""

    runners: tuple[Runner, ...]
    workers: tuple[Worker, ...]
    rows: tuple[Row, ...]
    newest: int  # the runner with the highest number, if it lives
    wrong: str  # the invariant that the last step broke


NO_RESCUE = Rescue(NOBODY, NOBODY, NOBODY, killed=False)
NO_RUNNER = Runner(ABSENT, 0, NONE, in_line=False, rescuing=NO_RESCUE)
NEWCOMER = Runner(READY, 0, NONE, in_line=False, rescuing=NO_RESCUE)
NO_WORKER = Worker(ABSENT, NOBODY, NOBODY, stopped=False)
PROCESSING = 1
PENDING = Row(0, NOBODY, NOBODY)
SETTLED = Row(2, NOBODY, NOBODY)


class Rules(NamedTuple):
    """How large the machine is, and what protects it: each protection can be left out."""

    runners: int = 2  # so many processes of `background_runner.py` at once
    workers: int = 2  # so many worker processes at once, of all runners
    jobs: int = 2
    limit: int = 1  # `workers` of the config
    deletes_lock: bool = True
    deletes_life: bool = True
    stops: bool = False
    kills_before_rescue: bool = True
    waits_until_gone: bool = True
    asks_who_lives: bool = True
    limit_in_claim: bool = True
    newest_in_claim: bool = True
    settles_only_what_is_held: bool = True


DOUBLE_RUN = "no job is run by two processes at once"
OVERRUN = "never more jobs run at once than the limit"
INNOCENT_KILLED = "a rescue kills no worker of a runner whose byte is held"
OUTDATED = "only the newest runner's workers take new jobs"
STUCK = "without further faults all jobs get settled"


def broken_invariant(state: State, rules: Rules) -> str | None:
    """Return the invariant that does not hold in `state`, if any."""
    running = [worker.job for worker in state.workers if worker.job != NOBODY]
    if len(set(running)) < len(running):
        return DOUBLE_RUN
    if len(running) > rules.limit:
        return OVERRUN
    return state.wrong or None


class Explored(NamedTuple):
    """How many states there are, which invariant breaks first, the shortest way to there, and all steps seen."""

    states: int
    broken: str | None
    way: list[str]
    steps: set[str]


def explore(rules: Rules) -> Explored:
    """Visit every state that can be reached, up to the first in which an invariant does not hold."""
    gc.disable()  # it would walk through all states again and again
    try:
        return _explore(rules)
    finally:
        gc.enable()


def _explore(rules: Rules) -> Explored:
    idle = State((NO_RUNNER,) * rules.runners, (NO_WORKER,) * rules.workers, (PENDING,) * rules.jobs, NOBODY, "")
    numbers = {idle: 0}
    states = [idle]
    came_from = array("l", [0])
    # The steps that are no faults: from which state to which.
    sources, targets = array("l"), array("l")
    seen: set[str] = set()
    for number, state in enumerate(states):
        for is_fault, following in (False, steps(state, rules)), (True, faults(state, rules)):
            for name, after in following:
                seen.add(name)
                known = numbers.setdefault(_sorted(after), len(states))
                if known == len(states):
                    states.append(_sorted(after))
                    came_from.append(number)
                    broken = broken_invariant(after, rules)
                    if broken:
                        return Explored(len(states), broken, _way(known, states, came_from, rules), seen)
                if not is_fault:
                    sources.append(number)
                    targets.append(known)
    stuck = _first_without_a_way([set(state.rows) == {SETTLED} for state in states], sources, targets)
    if stuck is None:
        return Explored(len(states), None, [], seen)
    return Explored(len(states), STUCK, _way(stuck, states, came_from, rules), seen)


def _first_without_a_way(good: list[bool], sources: array[int], targets: array[int]) -> int | None:
    """Return the first state from which no steps lead to one that is good already."""
    found = True
    while found:
        found = False
        for source, target in zip(reversed(sources), reversed(targets), strict=True):
            if good[target] and not good[source]:
                good[source] = found = True
    return good.index(False) if False in good else None


def _way(number: int, states: list[State], came_from: array[int], rules: Rules) -> list[str]:
    """Name the steps that lead to a state, each process by one and the same place all the way."""
    numbers = [number]
    while numbers[-1]:
        numbers.append(came_from[numbers[-1]])
    state, names = states[0], []
    for wanted in numbers[-2::-1]:
        following = (*steps(state, rules), *faults(state, rules))
        name, state = next(step for step in following if _is_the_same(step[1], states[wanted]))
        names.append(name)
    return names


def _is_the_same(state: State, other: State) -> bool:
    """Return whether two states differ in nothing but places."""
    orders = product(*(permutations(range(len(things))) for things in state[:3]))
    return any(_in_order(state, *order) == other for order in orders)


def _sorted(state: State) -> State:
    """Give processes and jobs their places by what they are at, so that states which differ in nothing else are one."""
    if (order := _order(state.runners)) is not None:
        state = _in_order(state, order, None, None)
    if (order := _order(state.workers)) is not None:
        state = _in_order(state, None, order, None)
    if (order := _order(state.rows)) is not None:
        state = _in_order(state, None, None, order)
    return state


def _order(things: tuple[tuple[object, ...], ...]) -> Sequence[int] | None:
    """Return the places of `things` in sorted order; None if they are sorted."""
    if all(map(operator.le, things, things[1:])):
        return None
    return sorted(range(len(things)), key=things.__getitem__)


def _in_order(state: State, *orders: Sequence[int] | None) -> State:
    """Put runners, workers and rows in other orders, and let all that means one of them mean its new place."""
    runners, workers, rows, newest, wrong = state
    of_runner, of_worker, of_row = map(_new_places, orders)
    if order := orders[0]:
        runners = tuple(map(runners.__getitem__, order))
        workers = tuple([Worker(phase, of_runner[owner], job, stopped) for phase, owner, job, stopped in workers])
        rows = tuple([Row(status, of_runner[owner], worker) for status, owner, worker in rows])
        newest = of_runner[newest]
    if order := orders[1]:
        workers = tuple(map(workers.__getitem__, order))
        rows = tuple([Row(status, owner, of_worker[worker]) for status, owner, worker in rows])
    if order := orders[2]:
        workers = tuple([Worker(phase, owner, of_row[job], stopped) for phase, owner, job, stopped in workers])
        rows = tuple(map(rows.__getitem__, order))
    for place, runner in enumerate(runners):
        if runner.rescuing != NO_RESCUE:
            job, owner, worker, killed = runner.rescuing
            meant = Rescue(of_row[job], of_runner[owner], of_worker[worker], killed)
            runners = _with(runners, place, runner._replace(rescuing=meant))
    return State(runners, workers, rows, newest, wrong)


def _new_places(order: Sequence[int] | None) -> Mapping[int, int]:
    """Return the new place of each thing by the one before; what is no place stays as it is."""
    if order is None:
        return _UNMOVED
    return {NOBODY: NOBODY, DEAD: DEAD, LATE: LATE} | {before: after for after, before in enumerate(order)}


_UNMOVED = {place: place for place in range(LATE, 9)}


def steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield every step that a process can take next, and the state after it."""
    for place, runner in enumerate(state.runners):
        if runner.phase == ABSENT:
            yield f"runner {place}: start", _with_runner(state, place, NEWCOMER)
        elif runner.phase < WORKING:
            yield from _newcomer(state, place, runner)
        elif runner.rescuing != NO_RESCUE:
            yield from _rescue(state, rules, place, runner)
        else:
            yield from _runner(state, rules, place, runner)
    for place, worker in enumerate(state.workers):
        yield from _worker(state, rules, place, worker)


def _newcomer(state: State, place: int, runner: Runner) -> Iterator[tuple[str, State]]:
    """A tick on its way to being the runner."""
    name, phase = f"runner {place}", runner.phase
    if phase in (READY, IN_LINE) and not any(other.lock == CURRENT for other in state.runners):
        yield f"{name}: take", _with_runner(state, place, runner._replace(phase=TAKEN, lock=CURRENT))
    elif phase == READY:
        yield f"{name}: exit", _without_runner(state, place)
        if not _is_someone_in_line(state, place):
            yield f"{name}: line up", _with_runner(state, place, runner._replace(phase=IN_LINE, in_line=True))
    elif phase == IN_LINE:
        yield f"{name}: give up", _without_runner(state, place)
    elif phase == TAKEN:
        entered = _with_runner(state, place, runner._replace(phase=NUMBERED))._replace(newest=place)
        yield f"{name}: insert", _with_owner(entered, LATE, DEAD)
    elif phase == NUMBERED:
        after = HOLDING if runner.in_line else WORKING
        yield f"{name}: hold byte", _with_runner(state, place, runner._replace(phase=after))
    else:
        yield f"{name}: free byte 0", _with_runner(state, place, runner._replace(phase=WORKING, in_line=False))


def _runner(state: State, rules: Rules, place: int, runner: Runner) -> Iterator[tuple[str, State]]:
    """What a runner may do in a turn."""
    yield from _looks_after_its_own(state, place)
    crew = sum(worker.owner == place for worker in state.workers)
    is_through = not crew and Row(PROCESSING, place, NOBODY) not in state.rows
    if is_through and (runner.phase == RETIRED or PENDING not in state.rows):
        yield f"runner {place}: end", _without_runner(state, place)
    if runner.phase == RETIRED:
        return
    if state.newest != place or _is_someone_in_line(state, place):
        yield f"runner {place}: hand over", _with_runner(state, place, runner._replace(phase=RETIRED, lock=NONE))
    if PENDING in state.rows and crew < rules.limit and NO_WORKER in state.workers:
        forked = Worker(FREE, place, NOBODY, stopped=False)
        yield f"runner {place}: fork", _with_worker(state, state.workers.index(NO_WORKER), forked)
    for job, row in enumerate(state.rows):
        if (
            row.status == PROCESSING
            and row.owner != place
            and not (rules.asks_who_lives and _lives(state, row, runner))
        ):
            found = Rescue(job, row.owner, row.worker, killed=False)
            yield f"runner {place}: look at {job}", _with_runner(state, place, runner._replace(rescuing=found))


def _looks_after_its_own(state: State, place: int) -> Iterator[tuple[str, State]]:
    """What a runner does about its own workers and the rows that they leave behind, retired or not."""
    for number, worker in enumerate(state.workers):
        if worker.owner == place and worker.phase in (RUNNING, LEFTOVER):
            what = "time out" if worker.phase == RUNNING else "kill the rest of"
            yield f"runner {place}: {what} worker {number}", _with_worker(state, number, _dying(worker))
    for job, row in enumerate(state.rows):
        if row == Row(PROCESSING, place, NOBODY):
            yield f"runner {place}: settle crash of {job}, fail", _with_row(state, job, SETTLED)
            yield f"runner {place}: settle crash of {job}, retry", _with_row(state, job, PENDING)


def _rescue(state: State, rules: Rules, place: int, runner: Runner) -> Iterator[tuple[str, State]]:
    """How the rescue of a row goes on, once the byte of its runner was found free."""
    name = f"runner {place}"
    job, owner, number, killed = runner.rescuing
    done = _with_runner(state, place, runner._replace(rescuing=NO_RESCUE))
    if number == NOBODY or (killed and not rules.waits_until_gone):
        if state.rows[job] == Row(PROCESSING, owner, number) or not rules.settles_only_what_is_held:
            yield f"{name}: settle {job}, fail", _with_row(done, job, SETTLED)
            yield f"{name}: settle {job}, retry", _with_row(done, job, PENDING)
        else:
            yield f"{name}: drop {job}", done
    elif killed:
        yield f"{name}: leave {job}", done
    else:
        worker = state.workers[number]
        after = _with_runner(state, place, runner._replace(rescuing=runner.rescuing._replace(killed=True)))
        if rules.kills_before_rescue:
            after = _with_worker(after, number, _dying(worker))
            alive = worker.owner >= 0 and state.runners[worker.owner]
            if alive and alive.phase > NUMBERED and alive.life == runner.life:
                after = after._replace(wrong=INNOCENT_KILLED)
        yield f"{name}: kill worker {number}", after


def _worker(state: State, rules: Rules, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
    """What a worker does, and what the kernel does to it."""
    phase, owner, job, stopped = worker
    if phase == DYING:
        yield f"worker {place}: gone", _without_worker(state, place)
    elif phase in (FREE, RUNNING) and owner in (DEAD, LATE):
        for what, after in _deaths(state, place, worker):
            yield f"worker {place}: follow{what}", after
    if phase == FREE and not stopped:
        yield f"worker {place}: end", _without_worker(state, place)
        yield from _claim(state, rules, place, worker)
    elif phase == RUNNING and not stopped:
        free = _with_worker(state, place, Worker(FREE, owner, NOBODY, stopped=False))
        if state.rows[job] == Row(PROCESSING, owner, place) or not rules.settles_only_what_is_held:
            yield f"worker {place}: succeed {job}", _with_row(free, job, SETTLED)
            yield f"worker {place}: retry {job}", _with_row(free, job, PENDING)
        else:
            yield f"worker {place}: drop {job}", free


def _claim(state: State, rules: Rules, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
    """Take a job, whichever comes first by the order that is not modelled here."""
    is_newest = worker.owner in (state.newest, LATE)
    has_room = sum(row.status == PROCESSING for row in state.rows) < rules.limit
    if not ((is_newest or not rules.newest_in_claim) and (has_room or not rules.limit_in_claim)):
        return
    for job, row in enumerate(state.rows):
        if row == PENDING:
            claimed = _with_row(state, job, Row(PROCESSING, worker.owner, place))
            after = _with_worker(claimed, place, worker._replace(phase=RUNNING, job=job))
            yield f"worker {place}: claim {job}", after if is_newest else after._replace(wrong=OUTDATED)


def faults(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield what may happen to the machine at any time."""
    for place, runner in enumerate(state.runners):
        if runner.phase != ABSENT:
            yield f"runner {place}: is killed", _without_runner(state, place)
    for place, worker in enumerate(state.workers):
        if worker.phase in (FREE, RUNNING):
            for what, after in _deaths(state, place, worker):
                yield f"worker {place}: is killed{what}", after
            if rules.stops and not any(other.stopped for other in state.workers):
                yield f"worker {place}: is stopped", _with_worker(state, place, worker._replace(stopped=True))
    if rules.deletes_lock and any(runner.lock == CURRENT for runner in state.runners):
        lockless = [r._replace(lock=DELETED) if r.lock == CURRENT else r for r in state.runners]
        yield "the lock file is deleted", state._replace(runners=tuple(lockless))
    if rules.deletes_life and any(runner.phase != ABSENT and runner.life == 0 for runner in state.runners):
        older = [r._replace(life=r.life + 1) if r.phase != ABSENT else r for r in state.runners]
        yield "the life file is deleted", _with_short_generations(state._replace(runners=tuple(older)))


def _deaths(state: State, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
    """The worker dies, but not with its group: a process that its job has started may live on."""
    yield "", _without_worker(state, place)
    if worker.phase == RUNNING:
        yield ", not its child", _with_worker(state, place, worker._replace(phase=LEFTOVER, stopped=False))


def _dying(worker: Worker) -> Worker:
    return worker._replace(phase=DYING, stopped=False)


def _lives(state: State, row: Row, asker: Runner) -> bool:
    """Return whether the runner of a row holds its byte of the life file that the asker has open."""
    if row.owner < 0:
        return False
    owner = state.runners[row.owner]
    return owner.phase > NUMBERED and owner.life == asker.life


def _is_someone_in_line(state: State, place: int) -> bool:
    """Return whether another process holds byte 0 of the life file that the runner at `place` has open."""
    life = state.runners[place].life
    return any(other.in_line and other.life == life for number, other in enumerate(state.runners) if number != place)


def _with_runner(state: State, place: int, runner: Runner) -> State:
    runners, workers, rows, newest, wrong = state
    return State(_with(runners, place, runner), workers, rows, newest, wrong)


def _with_worker(state: State, place: int, worker: Worker) -> State:
    runners, workers, rows, newest, wrong = state
    return State(runners, _with(workers, place, worker), rows, newest, wrong)


def _with_row(state: State, job: int, row: Row) -> State:
    runners, workers, rows, newest, wrong = state
    return State(runners, workers, _with(rows, job, row), newest, wrong)


def _with(things: tuple[Thing, ...], place: int, thing: Thing) -> tuple[Thing, ...]:
    return (*things[:place], thing, *things[place + 1 :])


def _without_runner(state: State, place: int) -> State:
    """The process has ended, however it came about: the kernel frees its lock and its bytes."""
    after = _with_runner(state, place, NO_RUNNER)
    if state.newest == place:
        after = _with_owner(after._replace(newest=NOBODY), place, LATE)
    else:
        after = _with_owner(after, place, DEAD)
    return _with_short_generations(after)


def _with_owner(state: State, before: int, after: int) -> State:
    """Let all that is the runner `before`'s be `after`'s."""
    return state._replace(
        runners=tuple(
            r._replace(rescuing=r.rescuing._replace(owner=after)) if r.rescuing.owner == before else r
            for r in state.runners
        ),
        workers=tuple(w._replace(owner=after) if w.owner == before else w for w in state.workers),
        rows=tuple(row._replace(owner=after) if row.owner == before else row for row in state.rows),
    )


def _without_worker(state: State, place: int) -> State:
    """All of the group is gone; who meant this worker shall not mean the next one at its place."""
    runners, workers, rows, newest, wrong = _with_worker(state, place, NO_WORKER)
    return State(
        tuple(
            r._replace(rescuing=r.rescuing._replace(worker=NOBODY)) if r.rescuing.worker == place else r
            for r in runners
        ),
        workers,
        tuple(row._replace(worker=NOBODY) if row.worker == place else row for row in rows),
        newest,
        wrong,
    )


def _with_short_generations(state: State) -> State:
    """Number the deleted life files without gaps: states that differ in nothing else are one."""
    deleted = sorted({runner.life for runner in state.runners} - {0})
    if not deleted or deleted[-1] == len(deleted):
        return state
    numbers = {0: 0} | {life: number for number, life in enumerate(deleted, start=1)}
    return state._replace(runners=tuple(r._replace(life=numbers[r.life]) for r in state.runners))
