"""Every SQL statement of the SQLite store, one constant for each verb.

Above a statement stands why it is so. Parameters are named; nothing is ever formatted into a statement.
"""

from __future__ import annotations

# "bgjb" in ASCII: marks a database as ours (https://sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID = 0x62676A62

# A migration only adds, or puts an index in the place of others whose queries it serves, so code of an older version
# keeps working beside a newer database. The list only grows; its length is PRAGMA user_version. A time's test is
# written out at each column, for CHECK can't call a named rule: without '+0 days' older SQLite takes 30 February as it
# is, and the fraction stays out, for SQLite rounds it to milliseconds. The three times that only we write are tested
# for their shape alone, at a third of the cost.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # AUTOINCREMENT: ids never come back, so "the order in which they were queued" holds after deletes, too.
        # Types are checked because SQLite would keep priority = 'high' and sort it above every number. Ids and counts
        # have an end so that no foreign row leaves the next id, or a count plus one, without room in 64 bits. No IN for
        # the status: SQLite would make a table of its values for each row that is written, 2 µs.
        """
        CREATE TABLE custom_jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 4611686018427387903),
            job_class TEXT NOT NULL CHECK (typeof(job_class) = 'text'),
            method TEXT NOT NULL CHECK (typeof(method) = 'text'),
            params TEXT CHECK (params IS NULL OR typeof(params) = 'text'),
            status TEXT NOT NULL DEFAULT 'pending'
                CHECK (status = 'pending' OR status = 'processing' OR status = 'completed' OR status = 'failed'
                    OR status = 'cancelled'),
            priority INTEGER NOT NULL DEFAULT 0 CHECK (typeof(priority) = 'integer'),
            retry_count INTEGER NOT NULL DEFAULT 0
                CHECK (typeof(retry_count) = 'integer' AND retry_count BETWEEN 0 AND 1000000),
            crash_count INTEGER NOT NULL DEFAULT 0
                CHECK (typeof(crash_count) = 'integer' AND crash_count BETWEEN 0 AND 1000000),
            available_at TEXT CONSTRAINT available_at_is_utc_text CHECK (available_at IS NULL OR (
                available_at > '0001' AND length(CAST(available_at AS BLOB)) = 26
                AND substr(available_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                AND datetime(substr(available_at, 1, 19), '+0 days') IS substr(available_at, 1, 19))),
            promoted INTEGER NOT NULL DEFAULT 0 CHECK (promoted IN (0, 1)),
            created_at TEXT CONSTRAINT created_at_is_utc_text CHECK (created_at IS NULL OR (
                created_at > '0001' AND length(CAST(created_at AS BLOB)) = 26
                AND substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                AND datetime(substr(created_at, 1, 19), '+0 days') IS substr(created_at, 1, 19))),
            updated_at TEXT CONSTRAINT updated_at_is_utc_text CHECK (updated_at IS NULL OR (
                typeof(updated_at) = 'text' AND length(CAST(updated_at AS BLOB)) = 26 AND updated_at GLOB
        '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]')),
            started_at TEXT CONSTRAINT started_at_is_utc_text CHECK (started_at IS NULL OR (
                typeof(started_at) = 'text' AND length(CAST(started_at AS BLOB)) = 26 AND started_at GLOB
        '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]')),
            finished_at TEXT CONSTRAINT finished_at_is_utc_text CHECK (finished_at IS NULL OR (
                typeof(finished_at) = 'text' AND length(CAST(finished_at AS BLOB)) = 26 AND finished_at GLOB
        '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]')),
            error TEXT,
            runner INTEGER CHECK (runner IS NULL OR typeof(runner) = 'integer'),
            worker TEXT CHECK (worker IS NULL OR typeof(worker) = 'text'),
            CONSTRAINT a_processing_row_has_an_owner
                CHECK ((status = 'processing') = (runner IS NOT NULL AND worker IS NOT NULL))
        )
        """,
        # The order in which jobs run; NULL sorts first, so jobs without a delay come before delayed ones.
        """
        CREATE INDEX custom_jobs_ready ON custom_jobs (priority DESC, available_at, id)
            WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
        """,
        # Waiting rows stand apart, so a million of them at a high priority cost a claim nothing.
        """
        CREATE INDEX custom_jobs_delayed ON custom_jobs (available_at, priority, id)
            WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        """,
        # Never more rows than workers: the rescue and the limit on workers read it.
        "CREATE INDEX custom_jobs_processing ON custom_jobs (runner) WHERE status = 'processing'",
        # One row for each attempt that failed or printed something; a silent success stands in custom_jobs alone.
        """
        CREATE TABLE attempts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            outcome TEXT NOT NULL CHECK (outcome IN ('succeeded', 'raised', 'timed out', 'crashed')),
            started_at TEXT,
            finished_at TEXT NOT NULL,
            error TEXT,
            traceback TEXT,
            output TEXT
        )
        """,
        "CREATE INDEX attempts_of_job ON attempts (job_id)",
        # A trigger, so that a row deleted by any program takes its attempts along.
        """
        CREATE TRIGGER attempts_leave_with_their_job AFTER DELETE ON custom_jobs
            BEGIN DELETE FROM attempts WHERE job_id = OLD.id; END
        """,
        """
        CREATE TABLE runners (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            pid INTEGER NOT NULL,
            process TEXT NOT NULL,
            version TEXT NOT NULL,
            lingers INTEGER NOT NULL,
            started TEXT NOT NULL,
            last_seen TEXT NOT NULL,
            ended TEXT
        )
        """,
        # How far the housekeeping has come.
        "CREATE TABLE housekeeping (id INTEGER PRIMARY KEY CHECK (id = 1), swept_to INTEGER, swept_at TEXT)",
        "INSERT INTO housekeeping (id, swept_to, swept_at) VALUES (1, 0, NULL)",
    ),
    (
        # Few rows, and those that people look for; the completed ones are counted as what is left, so that no job that
        # succeeds pays for an index.
        """
        CREATE INDEX custom_jobs_unsuccessful ON custom_jobs (status, id)
            WHERE status = 'failed' OR status = 'cancelled'
        """,
        # What ended in a span of time: a minute (2026-11-24 02:10) or an hour (2026-11-24 02), UTC.
        """
        CREATE TABLE tallies (
            span TEXT NOT NULL,
            job_class TEXT NOT NULL,
            completed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            seconds REAL NOT NULL DEFAULT 0.0,
            PRIMARY KEY (span, job_class)
        ) WITHOUT ROWID
        """,
        # A row while no job may be claimed.
        "CREATE TABLE pause (id INTEGER PRIMARY KEY CHECK (id = 1), since TEXT NOT NULL, who TEXT, reason TEXT)",
        # One row for each outage; it is over where ended_at is set.
        """
        CREATE TABLE alarms (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('no tick', 'overdue')),
            raised_at TEXT NOT NULL,
            ended_at TEXT,
            told TEXT NOT NULL
        )
        """,
        # Who uses this queue, from the side of the ticks and from that of queueing, as JSON; `doctor` compares them.
        """
        CREATE TABLE fingerprints (
            side TEXT NOT NULL CHECK (side IN ('tick', 'queueing')),
            digest TEXT NOT NULL,
            first_seen TEXT NOT NULL,
            last_seen TEXT NOT NULL,
            facts TEXT NOT NULL,
            PRIMARY KEY (side, digest)
        ) WITHOUT ROWID
        """,
    ),
    (
        # When the last pause ended: what waited until then was not kept waiting by a runner that hangs.
        "ALTER TABLE housekeeping ADD COLUMN resumed_at TEXT",
    ),
    (
        # What decided about another attempt, where the job itself did: 'postponed', 'gave up'. An outcome of its own
        # would take a new table, for a CHECK can't be widened.
        "ALTER TABLE attempts ADD COLUMN verdict TEXT",
    ),
    (
        # Attempts that did not complete their job: put off, or failed, by outcome.
        "ALTER TABLE tallies ADD COLUMN postponed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE tallies ADD COLUMN raised INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE tallies ADD COLUMN timed_out INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE tallies ADD COLUMN crashed INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # How far a job is. It is of the attempt that began at `started_at`: no claim pays for resetting it.
        """
        CREATE TABLE progress (
            job_id INTEGER PRIMARY KEY,
            started_at TEXT,
            fraction REAL CHECK (fraction IS NULL OR fraction BETWEEN 0 AND 1),
            text TEXT,
            updated_at TEXT NOT NULL
        )
        """,
        """
        CREATE TRIGGER progress_leaves_with_its_job AFTER DELETE ON custom_jobs
            BEGIN DELETE FROM progress WHERE job_id = OLD.id; END
        """,
    ),
    (
        # The trace to which a job belongs, as W3C's traceparent; only of what was queued within a span.
        "ALTER TABLE custom_jobs ADD COLUMN context TEXT",
    ),
    (
        # What came of a runner's jobs, as far as it got to say so; nothing of one that never had a job.
        "ALTER TABLE runners ADD COLUMN completed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runners ADD COLUMN retried INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runners ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runners ADD COLUMN postponed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runners ADD COLUMN released INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # What is processing stands right before what is ready, mostly on the same page: a claim and a settlement write
        # one page where two indexes would have them write two. SQLite uses a partial index where the query implies its
        # condition: `status = 'processing'` does, and so does `status = 'pending' AND (available_at IS NULL OR
        # promoted = 1)`. `promoted` is a column so that a count reads no row. Older code knows the index by its name.
        "DROP INDEX custom_jobs_processing",
        "DROP INDEX custom_jobs_ready",
        """
        CREATE INDEX custom_jobs_ready ON custom_jobs (status DESC, priority DESC, available_at, id, promoted)
            WHERE (status = 'processing' OR status = 'pending')
                AND (status = 'processing' OR (available_at IS NULL OR promoted = 1))
        """,
    ),
)

# Columns without which a table called custom_jobs can't be ours.
CUSTOM_JOBS_COLUMNS = frozenset(
    {
        "available_at",
        "crash_count",
        "created_at",
        "error",
        "finished_at",
        "id",
        "job_class",
        "method",
        "params",
        "priority",
        "promoted",
        "retry_count",
        "runner",
        "started_at",
        "status",
        "updated_at",
        "worker",
    }
)

TABLE_COLUMNS = "SELECT name FROM pragma_table_info('custom_jobs')"

# In `main`, for the connection may be the app's own, which may have a temporary table of that name.
ENQUEUE = """
    INSERT INTO main.custom_jobs (job_class, method, params, priority, available_at, created_at, updated_at)
    VALUES (:job_class, :method, :params, :priority, :available_at, :created_at, :created_at)
"""

# The same, within a span.
ENQUEUE_IN_CONTEXT = """
    INSERT INTO main.custom_jobs (job_class, method, params, priority, available_at, created_at, updated_at, context)
    VALUES (:job_class, :method, :params, :priority, :available_at, :created_at, :created_at, :context)
"""

# Many jobs, as JSON, in one statement: all of them or none, also where each statement commits by itself.
ENQUEUE_TOGETHER = """
    INSERT INTO main.custom_jobs (job_class, method, params, priority, available_at, created_at, updated_at, context)
    SELECT json_extract(value, '$.job_class'), json_extract(value, '$.method'), json_extract(value, '$.params'),
        json_extract(value, '$.priority'), json_extract(value, '$.available_at'),
        json_extract(value, '$.created_at'), json_extract(value, '$.created_at'), json_extract(value, '$.context')
    FROM json_each(:jobs) ORDER BY key
"""

# Two looks at two indexes, each at its first entry. While the queue is paused nothing counts as due, so its ticks stay
# as cheap as idle ones. An outage that is not over takes a tick in full, which ends it.
ANYTHING_DUE = """
    SELECT (EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1))
        OR EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        AND available_at > '' AND available_at <= :now))
        AND NOT EXISTS (SELECT 1 FROM pause)
        OR EXISTS (SELECT 1 FROM alarms WHERE ended_at IS NULL)
"""

# A row that is processing concerns a tick, too: its runner may be dead.
RUNNERS_AT_WORK = "SELECT DISTINCT runner FROM custom_jobs WHERE status = 'processing'"

# All that the runner wants to know at each look: is it still the newest, how many jobs could start (while the queue is
# paused, none), when is the next, is it paused.
LOOK = """
    SELECT
        (SELECT max(id) FROM runners) AS newest,
        (SELECT count(*) FROM custom_jobs WHERE status = 'processing') AS processing,
        CASE WHEN EXISTS (SELECT 1 FROM pause) THEN 0 ELSE
            (SELECT count(*) FROM (
                SELECT 1 FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                LIMIT :workers))
            + (SELECT count(*) FROM (
                SELECT 1 FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                AND available_at > '' AND available_at <= :now LIMIT :workers)) END AS due,
        (SELECT available_at FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
            AND available_at > :now AND available_at < x'' ORDER BY available_at LIMIT 1) AS next_available_at,
        EXISTS (SELECT 1 FROM pause) AS is_paused
"""

# From the two indexes of what is pending; none while the queue is paused, for none of it is being worked off. Here and
# wherever all that is ready is walked over, it is asked for in its index's own words (MIGRATIONS): then SQLite tests
# nothing for each entry.
COUNT_DUE = """
    SELECT
        CASE WHEN EXISTS (SELECT 1 FROM pause) THEN 0 ELSE
            (SELECT count(*) FROM custom_jobs
                WHERE status = 'pending' AND (status = 'processing' OR (available_at IS NULL OR promoted = 1)))
            + (SELECT count(*) FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                AND available_at > '' AND available_at <= :now) END,
        (SELECT count(*) FROM custom_jobs WHERE status = 'processing')
"""

DUE_SINCE = """
    SELECT 1 FROM custom_jobs
    WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        AND available_at > :since AND available_at <= :now
    LIMIT 1
"""

READY_HEAD = """
    SELECT priority, available_at, id FROM custom_jobs
    WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
    ORDER BY priority DESC, available_at, id LIMIT 1
"""

# The best in drain order first, so that even a part of a large backlog starts with the right jobs. A read of its own:
# sorting a million rows takes a sixth of a second, in which nobody else may be kept from writing.
BEST_DELAYED = """
    SELECT priority, available_at, id FROM custom_jobs
    WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        AND available_at > :since AND available_at <= :now
    ORDER BY priority DESC, available_at, id LIMIT :most
"""

# Looked at again, since the rows were read outside of this transaction.
PROMOTE = """
    UPDATE custom_jobs SET promoted = 1
    WHERE id = :id AND status = 'pending' AND promoted = 0 AND available_at <= :now
"""

# Only the newest runner claims: an older one, whose lock file someone deleted, finds nothing and retires. The limit
# on workers is checked here, in the claim's own transaction, because jobs of a retired runner keep their slots. So is
# the head of the delayed ones: one that has fallen due could be better than the best ready one. And the pause: once its
# row is committed no claim finds a job.
CLAIM = """
    UPDATE custom_jobs
    SET status = 'processing', runner = :runner, worker = :worker, started_at = :now, finished_at = NULL,
        updated_at = :now
    WHERE id = (SELECT id FROM custom_jobs
                WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                ORDER BY priority DESC, available_at, id LIMIT 1)
        AND :runner = (SELECT max(id) FROM runners)
        AND (SELECT count(*) FROM custom_jobs WHERE status = 'processing') < :workers
        AND NOT EXISTS (SELECT 1 FROM pause)
        AND NOT EXISTS (SELECT 1 FROM custom_jobs
                        WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                            AND available_at > :since AND available_at <= :due)
    RETURNING id, job_class, method, params, priority,
        max(CAST(retry_count AS INTEGER), 0), max(CAST(crash_count AS INTEGER), 0), runner, worker, context
"""

CLAIM_ONE = """
    UPDATE custom_jobs
    SET status = 'processing', runner = :runner, worker = :worker, started_at = :now, finished_at = NULL,
        updated_at = :now
    WHERE id = :id AND status = 'pending' AND :runner = (SELECT max(id) FROM runners)
        AND (SELECT count(*) FROM custom_jobs WHERE status = 'processing') < :workers
        AND NOT EXISTS (SELECT 1 FROM pause)
    RETURNING id, job_class, method, params, priority,
        max(CAST(retry_count AS INTEGER), 0), max(CAST(crash_count AS INTEGER), 0), runner, worker, context
"""

# Every settlement names what it holds, so a job that was taken away is never settled twice. IS and the casts: a row
# that another program wrote past the CHECKs (no owner, a count that is no number) must end, not stop the queue.
COMPLETE = """
    UPDATE custom_jobs
    SET status = 'completed', runner = NULL, worker = NULL, error = NULL, finished_at = :now, updated_at = :now
    WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""

RETRY = """
    UPDATE custom_jobs
    SET status = 'pending', runner = NULL, worker = NULL, error = :error, finished_at = :now, updated_at = :now,
        retry_count = min(max(CAST(retry_count AS INTEGER), 0), 999999) + 1,
        crash_count = min(max(CAST(crash_count AS INTEGER), 0), 999999) + :crashed,
        available_at = :available_at, promoted = 0
    WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""

FAIL = """
    UPDATE custom_jobs
    SET status = 'failed', runner = NULL, worker = NULL, error = :error, finished_at = :now, updated_at = :now,
        crash_count = min(max(CAST(crash_count AS INTEGER), 0), 999999) + :crashed
    WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""

# The job asked for it: nothing is counted in its row, so that no other job pays for a column.
POSTPONE = """
    UPDATE custom_jobs
    SET status = 'pending', runner = NULL, worker = NULL, error = :error, finished_at = :now, updated_at = :now,
        available_at = :available_at, promoted = 0
    WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""
# In a row: since the last attempt that ended otherwise.
COUNT_POSTPONEMENTS = """
    SELECT count(*) FROM attempts WHERE job_id = :id AND id > coalesce(
        (SELECT max(id) FROM attempts WHERE job_id = :id AND verdict IS NOT 'postponed'), 0)
"""

# Handed back uncounted: the job did not fail, its runner was told to stop.
RELEASE = """
    UPDATE custom_jobs
    SET status = 'pending', runner = NULL, worker = NULL, started_at = NULL, updated_at = :now
    WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""

RECORD_ATTEMPT = """
    INSERT INTO attempts (job_id, attempt, outcome, started_at, finished_at, error, traceback, output, verdict)
    SELECT id, min(max(CAST(retry_count AS INTEGER), 0), 999999) + 1, :outcome,
        started_at, :now, :error, :traceback, :output, :verdict
    FROM custom_jobs WHERE id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker
"""

NOTE_PROGRESS = """
    INSERT INTO progress (job_id, started_at, fraction, text, updated_at)
    SELECT id, started_at, :fraction, :text, :now
    FROM custom_jobs WHERE id = :job_id AND status = 'processing' AND runner IS :runner AND worker IS :worker
    ON CONFLICT (job_id) DO UPDATE SET started_at = excluded.started_at, fraction = excluded.fraction,
        text = excluded.text, updated_at = excluded.updated_at
"""

HELD_BY_OTHERS = """
    SELECT id, job_class, method, params, priority,
        max(CAST(retry_count AS INTEGER), 0), max(CAST(crash_count AS INTEGER), 0), runner, worker
    FROM custom_jobs WHERE status = 'processing' AND runner IS NOT :runner
"""

HELD_BY_WORKER = """
    SELECT id, job_class, method, params, priority,
        max(CAST(retry_count AS INTEGER), 0), max(CAST(crash_count AS INTEGER), 0), runner, worker
    FROM custom_jobs WHERE status = 'processing' AND runner IS :runner AND worker IS :worker
"""

# One row or none. Paused again, it keeps since when; who and why are those of the last one who gave a reason.
PAUSE = """
    INSERT INTO pause (id, since, who, reason) VALUES (1, :now, :who, :reason)
    ON CONFLICT (id) DO UPDATE SET who = excluded.who, reason = excluded.reason WHERE excluded.reason IS NOT NULL
"""
RESUME = "DELETE FROM pause"
NOTE_RESUME = "UPDATE housekeeping SET resumed_at = :now"
PAUSED = "SELECT since, who, reason FROM pause"

START_RUNNER = """
    INSERT INTO runners (pid, process, version, lingers, started, last_seen)
    VALUES (:pid, :process, :version, :lingers, :now, :now)
"""
SEE_RUNNER = """
    UPDATE runners SET last_seen = :now, completed = :complete, retried = :retry, failed = :fail,
        postponed = :postpone, released = :release
    WHERE id = :id
"""
END_RUNNER = "UPDATE runners SET ended = :now WHERE id = :id"
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
PROCESS_OF_RUNNER = "SELECT process FROM runners WHERE id = :id"
NEWEST_RUNNER = "SELECT id, pid, lingers, started, ended FROM runners ORDER BY id DESC LIMIT 1"

# The sum of what the runners have counted: no settled job pays for a row, and nobody counts a million of them.
ADD_TO_TALLIES = """
    INSERT INTO tallies (span, job_class, completed, failed, seconds, postponed, raised, timed_out, crashed)
    VALUES (:span, :job_class, :completed, :failed, :seconds, :postponed, :raised, :timed_out, :crashed)
    ON CONFLICT (span, job_class) DO UPDATE SET
        completed = completed + :completed, failed = failed + :failed, seconds = seconds + :seconds,
        postponed = postponed + :postponed, raised = raised + :raised, timed_out = timed_out + :timed_out,
        crashed = crashed + :crashed
"""

# Spans are told by the length of their text, so that neither kind counts for the other. The total is never forgotten.
FORGET_TALLIES = """
    DELETE FROM tallies WHERE (length(span) = 16 AND span < :minute) OR (length(span) = 13 AND span < :hour)
"""

TOTALS = """
    SELECT job_class, completed, failed, seconds, postponed, raised, timed_out, crashed FROM tallies
    WHERE span = 'total'
"""

# Runners of long ago tell nobody anything; the newest rows stay for the person who asks what happened.
FORGET_RUNNERS = "DELETE FROM runners WHERE id <= (SELECT max(id) FROM runners) - 1000"

FINGERPRINT_SEEN = "SELECT last_seen FROM fingerprints WHERE side = :side AND digest = :digest"
LEAVE_FINGERPRINT = """
    INSERT INTO fingerprints (side, digest, first_seen, last_seen, facts)
    VALUES (:side, :digest, :now, :now, :facts)
    ON CONFLICT (side, digest) DO UPDATE SET last_seen = excluded.last_seen, facts = excluded.facts
"""
FORGET_FINGERPRINTS = """
    DELETE FROM fingerprints WHERE side = :side AND digest NOT IN (
        SELECT digest FROM fingerprints WHERE side = :side ORDER BY last_seen DESC LIMIT :most)
"""

SWEPT = "SELECT swept_to, swept_at FROM housekeeping"
NOTE_SWEEP = "UPDATE housekeeping SET swept_to = :swept_to, swept_at = :swept_at"

# A stretch of ids at a time, whatever stands in it: pruning needs no index that every settlement would pay for.
STRETCH = "SELECT max(id) FROM (SELECT id FROM custom_jobs WHERE id > :after ORDER BY id LIMIT :most)"
PRUNE = """
    DELETE FROM custom_jobs
    WHERE id > :after AND id <= :upto AND (
        (status = 'completed' AND coalesce(finished_at, updated_at) < :completed)
        OR (status = 'failed' AND coalesce(finished_at, updated_at) < :failed)
        OR (status = 'cancelled' AND coalesce(updated_at, finished_at) < :cancelled))
    RETURNING status
"""

# By hand: the same rows, over all of the table.
COUNT_PRUNABLE = """
    SELECT status, count(*) FROM custom_jobs
    WHERE (status = 'completed' AND coalesce(finished_at, updated_at) < :completed)
        OR (status = 'failed' AND coalesce(finished_at, updated_at) < :failed)
        OR (status = 'cancelled' AND coalesce(updated_at, finished_at) < :cancelled)
    GROUP BY status
"""

IS_ANY_DUE = """
    SELECT EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1))
        OR EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        AND available_at > '' AND available_at <= :now)
"""
# Three candidates: the first of those without a time (ids grow), of the promoted and of the delayed ones, read from the
# two indexes alone. A job that was requeued or handed back is as old as that. One that hides a later, older one so does
# not do it for longer than it takes to become overdue itself; no queue is sorted for an alarm.
OLDEST_DUE = """
    WITH ready (first, promoted) AS (
        SELECT min(CASE WHEN available_at IS NULL THEN id END), min(available_at || id)
        FROM custom_jobs
            WHERE status = 'pending' AND (status = 'processing' OR (available_at IS NULL OR promoted = 1))),
    delayed (first) AS (
        SELECT id FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
            AND available_at > '' AND available_at <= :now ORDER BY available_at LIMIT 1)
    SELECT id, job_class, method, max(coalesce(available_at, ''), coalesce(updated_at, created_at, '')) AS since
    FROM custom_jobs
    WHERE id IN (SELECT first FROM ready UNION SELECT CAST(substr(promoted, 27) AS INTEGER) FROM ready
                 UNION SELECT first FROM delayed) AND since > ''
    ORDER BY since LIMIT 1
"""

# Whether ticks come, and runners start or work, for so long already: the time in which nobody was there is no hang, nor
# is that of a pause.
TENDED_SINCE = """
    SELECT (EXISTS (SELECT 1 FROM runners WHERE started >= :before AND started <= :since)
            OR (SELECT started FROM runners ORDER BY id DESC LIMIT 1) <= :since)
        AND NOT EXISTS (SELECT 1 FROM housekeeping WHERE resumed_at > :since)
"""

OPEN_ALARMS = "SELECT id, kind, raised_at, told FROM alarms WHERE ended_at IS NULL ORDER BY id"
# One row for an outage, whoever else sees it in the same moment.
RAISE_ALARM = """
    INSERT INTO alarms (kind, raised_at, told)
    SELECT :kind, :now, :told
    WHERE NOT EXISTS (SELECT 1 FROM alarms WHERE kind = :kind AND ended_at IS NULL)
"""
END_ALARM = "UPDATE alarms SET ended_at = :now WHERE id = :id AND ended_at IS NULL"
FORGET_ALARMS = "DELETE FROM alarms WHERE ended_at IS NOT NULL AND id <= (SELECT max(id) FROM alarms) - 1000"

STATUS_OF = "SELECT status FROM custom_jobs WHERE id = :id"

# What a drain would run, in its order: delayed rows that are due by then are counted in as if promoted.
DUE_AT = """
    SELECT id, job_class, method, params, priority, retry_count, crash_count, runner, worker, available_at
    FROM custom_jobs
    WHERE status = 'pending' AND (available_at IS NULL OR available_at <= :at)
    ORDER BY priority DESC, available_at, id
"""

NOT_DUE_AT = """
    SELECT id, job_class, method, params, priority, retry_count, crash_count, runner, worker, available_at
    FROM custom_jobs
    WHERE status = 'pending' AND available_at > :at
    ORDER BY available_at, priority DESC, id
"""

# By hand: a person looks first, perhaps answers a question, and acts then. So each move names the status in which the
# job was seen, beside those that it may leave; what has changed in between is let be.

# Like a job that was just queued: all retries before it, and due at once. What came of it so far stays in `attempts`.
REQUEUE = """
    UPDATE custom_jobs
    SET status = 'pending', retry_count = 0, crash_count = 0, available_at = NULL, promoted = 0, error = NULL,
        started_at = NULL, finished_at = NULL, updated_at = :now
    WHERE id = :id AND (status = 'failed' OR status = 'cancelled') AND status = :seen
"""

CANCEL = """
    UPDATE custom_jobs SET status = 'cancelled', updated_at = :now
    WHERE id = :id AND status = 'pending' AND status = :seen
"""

DELETE = "DELETE FROM custom_jobs WHERE id = :id AND status <> 'processing' AND status = :seen"

FIND = "SELECT id, job_class, method, status FROM custom_jobs WHERE id = :id"

# One walk over all rows, as pruning does it: no settlement pays for an index that only a person would use.
COUNT_MATCHING = """
    SELECT count(*), max(id) FROM custom_jobs
    WHERE id > :after AND id <= :upto
        AND ((status = 'pending' AND :pending) OR (status = 'processing' AND :processing)
        OR (status = 'completed' AND :completed) OR (status = 'failed' AND :failed)
        OR (status = 'cancelled' AND :cancelled))
        AND (:job_class IS NULL OR job_class = :job_class)
        AND (:method IS NULL OR method = :method)
        AND (:priority IS NULL OR priority = :priority)
        AND (:error IS NULL OR instr(error, :error) > 0)
        AND (:text IS NULL OR instr(lower(params), lower(:text)) > 0 OR instr(lower(error), lower(:text)) > 0)
        AND (:since IS NULL OR coalesce(updated_at, finished_at, created_at) >= :since)
        AND (:until IS NULL OR coalesce(updated_at, finished_at, created_at) <= :until)
        AND (:as_of IS NULL OR updated_at IS NULL OR updated_at <= :as_of)
"""

# The same filters. A stretch at a time, read outside of the transaction that changes them: a walk over a million rows
# takes a while, in which others must be able to write.
MATCHING = """
    SELECT id, job_class, method, status FROM custom_jobs
    WHERE id > :after AND id <= :upto
        AND ((status = 'pending' AND :pending) OR (status = 'processing' AND :processing)
        OR (status = 'completed' AND :completed) OR (status = 'failed' AND :failed)
        OR (status = 'cancelled' AND :cancelled))
        AND (:job_class IS NULL OR job_class = :job_class)
        AND (:method IS NULL OR method = :method)
        AND (:priority IS NULL OR priority = :priority)
        AND (:error IS NULL OR instr(error, :error) > 0)
        AND (:text IS NULL OR instr(lower(params), lower(:text)) > 0 OR instr(lower(error), lower(:text)) > 0)
        AND (:since IS NULL OR coalesce(updated_at, finished_at, created_at) >= :since)
        AND (:until IS NULL OR coalesce(updated_at, finished_at, created_at) <= :until)
        AND (:as_of IS NULL OR updated_at IS NULL OR updated_at <= :as_of)
    ORDER BY id LIMIT :most
"""

# What `bgjob status`, `list` and `show` read, over a connection that can't write.

# The first number reads no row, only how many entries each page has; the others stand in the partial indexes. What is
# in none of them is completed. Delayed rows in three parts, each a range of the index: due, waiting, and written past
# the CHECKs.
COUNTS = """
    SELECT (SELECT count(*) FROM custom_jobs) AS jobs,
        (SELECT count(*) FROM custom_jobs
         WHERE status = 'pending' AND (status = 'processing' OR (available_at IS NULL OR promoted = 1))) AS ready,
        (SELECT count(*) FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
         AND available_at > '' AND available_at <= :now) AS fallen_due,
        (SELECT count(*) FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
         AND available_at > :now) AS waiting,
        (SELECT count(*) FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
         AND available_at <= '') AS odd,
        (SELECT count(*) FROM custom_jobs WHERE status = 'processing') AS processing,
        (SELECT count(*) FROM custom_jobs
         WHERE status = 'failed' AND (status = 'failed' OR status = 'cancelled')) AS failed,
        (SELECT count(*) FROM custom_jobs
         WHERE status = 'cancelled' AND (status = 'failed' OR status = 'cancelled')) AS cancelled
"""

ENDED_IN_MINUTES = """
    SELECT coalesce(sum(completed), 0), coalesce(sum(failed), 0), coalesce(sum(seconds), 0.0) FROM tallies
    WHERE span > :after AND span <= :upto AND length(span) = 16
"""

# Attempts are written as they end, so the first older one from the newest back is where the hour begins. No more are
# looked at than :most; the last row tells whether there are.
FAILURES_SINCE = """
    SELECT outcome, count(*) FROM attempts
    WHERE outcome <> 'succeeded' AND verdict IS NOT 'postponed'
        AND id > (SELECT max(id) FROM attempts) - :most AND id > coalesce(
        (SELECT id FROM attempts
         WHERE finished_at < :since AND id > (SELECT max(id) FROM attempts) - :most ORDER BY id DESC LIMIT 1), 0)
    GROUP BY outcome
"""
NEWEST_ATTEMPT_LEFT_OUT = """
    SELECT finished_at FROM attempts WHERE id <= (SELECT max(id) FROM attempts) - :most ORDER BY id DESC LIMIT 1
"""

# Within a priority the first entry of the index is the one that has been due for the longest time. So one look for each
# priority finds it, however many jobs are due; ids grow, so the lowest one without a time was queued first.
FIRST_DUE = """
    WITH RECURSIVE priorities (priority) AS (
        SELECT (SELECT priority FROM custom_jobs
                WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1) ORDER BY priority DESC LIMIT 1)
        UNION ALL
        SELECT (SELECT priority FROM custom_jobs
                WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                    AND priority < priorities.priority ORDER BY priority DESC LIMIT 1)
        FROM priorities WHERE priority IS NOT NULL LIMIT :most)
    SELECT id, job_class, method, coalesce(available_at, created_at) AS since, (SELECT count(*) FROM priorities)
    FROM custom_jobs WHERE id IN (
        SELECT (SELECT id FROM custom_jobs
                WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                    AND priority = priorities.priority AND available_at IS NULL ORDER BY id LIMIT 1) FROM priorities
        UNION ALL
        SELECT (SELECT id FROM custom_jobs
                WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                    AND priority = priorities.priority AND available_at > '' ORDER BY available_at, id LIMIT 1)
        FROM priorities
        UNION ALL
        SELECT id FROM (SELECT id FROM custom_jobs
                        WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                            AND available_at > '' AND available_at <= :now ORDER BY available_at LIMIT 1))
    ORDER BY since IS NULL, since, id LIMIT 1
"""
# The same of a queue with more priorities than that: a walk over the index. The lowest id without a time mostly stands
# among the first :looked ids of the table; only else a second walk finds it. min() picks the row of the other column
# (https://sqlite.org/lang_select.html#bareagg).
FIRST_DUE_OF_ALL = """
    SELECT id, job_class, method, coalesce(available_at, created_at) AS since FROM custom_jobs WHERE id IN (
        SELECT coalesce(
            (SELECT id FROM custom_jobs NOT INDEXED
             WHERE id < (SELECT min(id) FROM custom_jobs) + :looked AND status = 'pending' AND available_at IS NULL
             ORDER BY id LIMIT 1),
            (SELECT min(id) FROM custom_jobs INDEXED BY custom_jobs_ready
             WHERE status = 'pending'
                 AND (status = 'processing' OR (available_at IS NULL OR promoted = 1)) AND available_at IS NULL))
        UNION ALL
        SELECT id FROM (SELECT id, min(available_at) FROM custom_jobs INDEXED BY custom_jobs_ready
                        WHERE status = 'pending'
                            AND (status = 'processing' OR (available_at IS NULL OR promoted = 1)) AND available_at > '')
        UNION ALL
        SELECT id FROM (SELECT id FROM custom_jobs
                        WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                            AND available_at > '' AND available_at <= :now ORDER BY available_at LIMIT 1))
    ORDER BY since IS NULL, since, id LIMIT 1
"""
NEXT_DUE = """
    SELECT available_at FROM custom_jobs
    WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
        AND available_at > :now AND available_at < x''
    ORDER BY available_at LIMIT 1
"""

RUNNING = """
    SELECT id, job_class, method, custom_jobs.started_at, runner, worker, fraction, text, progress.updated_at
    FROM custom_jobs LEFT JOIN progress ON job_id = id AND progress.started_at = custom_jobs.started_at
    WHERE status = 'processing' ORDER BY custom_jobs.started_at, id
"""
PROGRESS_OF = """
    SELECT fraction, text, progress.updated_at
    FROM progress JOIN custom_jobs ON job_id = id AND progress.started_at = custom_jobs.started_at WHERE job_id = :id
"""
LAST_RUNNER = """
    SELECT id, pid, process, version, lingers, started, last_seen, ended FROM runners ORDER BY id DESC LIMIT 1
"""

# A stretch of ids at a time, so that a search may stop and say how far it looked. CASE chooses the order, for nothing
# is formatted into a statement.
LIST_STRETCH = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs
    WHERE id > :after AND id <= :upto
        AND (:status IS NULL OR status = :status)
        AND (:job_class IS NULL OR job_class = :job_class)
        AND (:method IS NULL OR method = :method)
        AND (:priority IS NULL OR priority = :priority)
        AND (:error IS NULL OR instr(error, :error) > 0)
        AND (:text IS NULL OR instr(lower(params), lower(:text)) > 0 OR instr(lower(error), lower(:text)) > 0)
        AND (:since IS NULL OR coalesce(updated_at, finished_at, created_at) >= :since)
        AND (:until IS NULL OR coalesce(updated_at, finished_at, created_at) <= :until)
    ORDER BY CASE :sort WHEN 'duration' THEN julianday(finished_at) - julianday(started_at) END DESC,
        CASE :sort WHEN 'oldest' THEN id ELSE -id END
    LIMIT :most
"""
# The same, along the index of those statuses.
LIST_UNSUCCESSFUL_STRETCH = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs
    WHERE id > :after AND id <= :upto
        AND status = :status AND (status = 'failed' OR status = 'cancelled')
        AND (:job_class IS NULL OR job_class = :job_class)
        AND (:method IS NULL OR method = :method)
        AND (:priority IS NULL OR priority = :priority)
        AND (:error IS NULL OR instr(error, :error) > 0)
        AND (:text IS NULL OR instr(lower(params), lower(:text)) > 0 OR instr(lower(error), lower(:text)) > 0)
        AND (:since IS NULL OR coalesce(updated_at, finished_at, created_at) >= :since)
        AND (:until IS NULL OR coalesce(updated_at, finished_at, created_at) <= :until)
    ORDER BY CASE :sort WHEN 'duration' THEN julianday(finished_at) - julianday(started_at) END DESC,
        CASE :sort WHEN 'oldest' THEN id ELSE -id END
    LIMIT :most
"""
FIRST_ID = "SELECT id FROM custom_jobs WHERE id > :after ORDER BY id LIMIT 1"
LAST_ID = "SELECT id FROM custom_jobs WHERE id <= :upto ORDER BY id DESC LIMIT 1"

# Of a long queue the jobs that a drain takes first, and those that fall due first; and all that are being run. What a
# drain would not take yet comes after what it would.
LIST_WAITING = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs
    WHERE id IN (
        SELECT id FROM (SELECT id FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                        ORDER BY priority DESC, available_at, id LIMIT :looked)
        UNION ALL
        SELECT id FROM (SELECT id FROM custom_jobs
                        WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                        ORDER BY available_at, priority, id LIMIT :looked)
        UNION ALL
        SELECT id FROM custom_jobs WHERE status = 'processing')
        AND id > :after AND id <= :upto
        AND status = :status
        AND (:job_class IS NULL OR job_class = :job_class)
        AND (:method IS NULL OR method = :method)
        AND (:priority IS NULL OR priority = :priority)
        AND (:error IS NULL OR instr(error, :error) > 0)
        AND (:text IS NULL OR instr(lower(params), lower(:text)) > 0 OR instr(lower(error), lower(:text)) > 0)
        AND (:since IS NULL OR coalesce(updated_at, finished_at, created_at) >= :since)
        AND (:until IS NULL OR coalesce(updated_at, finished_at, created_at) <= :until)
    ORDER BY CASE :sort WHEN 'priority' THEN available_at IS NOT NULL AND promoted = 0 AND available_at > :now END,
        CASE :sort WHEN 'priority' THEN priority END DESC,
        CASE :sort WHEN 'priority' THEN available_at WHEN 'due' THEN coalesce(available_at, created_at) END,
        CASE :sort WHEN 'duration' THEN julianday(finished_at) - julianday(started_at) END DESC,
        CASE WHEN :sort = 'newest' OR :sort = 'duration' THEN -id ELSE id END
    LIMIT :most OFFSET :offset
"""
WAITS_MORE_THAN = """
    SELECT EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
                   LIMIT 1 OFFSET :looked),
        EXISTS (SELECT 1 FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                   LIMIT 1 OFFSET :looked)
"""

JOB_BY_ID = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs WHERE id = :id
"""
ATTEMPTS_OF = """
    SELECT attempt, outcome, verdict, started_at, finished_at, error, traceback, output FROM attempts
    WHERE job_id = :id ORDER BY id
"""
LAST_VERDICT = "SELECT verdict FROM attempts WHERE job_id = :id ORDER BY id DESC LIMIT 1"

# Whether anybody works, in one look: a claim, and a retry that is due at once, move a job from one to the other.
STANDING = """
    SELECT (SELECT count(*) FROM custom_jobs WHERE status = 'processing') AS processing,
        (SELECT count(*) FROM (SELECT 1 FROM custom_jobs
            WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1) LIMIT 1))
        + (SELECT count(*) FROM (SELECT 1 FROM custom_jobs
            WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
                AND available_at > '' AND available_at <= :now LIMIT 1)) > 0 AS is_due,
        EXISTS (SELECT 1 FROM pause) AS is_paused
"""

# What a drain would take before the job, from both indexes.
AHEAD_OF = """
    SELECT (SELECT count(*) FROM custom_jobs
            WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1) AND id <> :id
                AND (priority > :priority OR (priority = :priority
                     AND (coalesce(available_at, ''), id) < (:available_at, :id))))
        + (SELECT count(*) FROM custom_jobs
           WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0 AND id <> :id
                AND available_at > '' AND available_at <= :now
                AND (priority > :priority OR (priority = :priority
                     AND (available_at, id) < (:available_at, :id))))
"""

JOURNAL_MODE = "PRAGMA journal_mode"
FINGERPRINTS = "SELECT side, last_seen, facts FROM fingerprints"

# When the newest rows were written, by the clock of their writers.
NEWEST_TIMES = """
    SELECT max(time) FROM (
        SELECT max(created_at) AS time FROM (SELECT created_at FROM custom_jobs ORDER BY id DESC LIMIT 100)
        UNION ALL SELECT max(started) FROM (SELECT started FROM runners ORDER BY id DESC LIMIT 100)
        UNION ALL SELECT max(last_seen) FROM fingerprints)
"""

# What came of the jobs hour by hour, as their runners tallied it.
ENDED_BY_HOUR = """
    SELECT span, sum(completed), sum(failed) FROM tallies
    WHERE span > :after AND span <= :upto AND length(span) = 13 GROUP BY span
"""

# Among the ids of two stretches: the newest, and what was queued before the job that is next, where a queue that is
# long has its jobs that ended. `available_at` of a job that was retried is that of its last attempt.
TIMINGS = """
    SELECT job_class, coalesce(available_at, created_at), created_at, started_at, finished_at FROM custom_jobs
    WHERE (id > (SELECT max(id) FROM custom_jobs) - :looked
        OR id BETWEEN :next - :looked AND :next) AND status = 'completed'
"""

NEWEST_FAILURES = """
    SELECT outcome, substr(error, 1, 200) FROM attempts
    WHERE outcome <> 'succeeded' AND verdict IS NOT 'postponed' AND finished_at >= :since
        AND id > (SELECT max(id) FROM attempts) - :looked
"""

# Those that did something, or have not ended; an idle one would only hide them.
RUNNERS = """
    SELECT id, pid, version, lingers, started, last_seen, ended, completed, retried, failed, postponed, released
    FROM runners
    WHERE id < :before
        AND (ended IS NULL OR completed OR retried OR failed OR postponed OR released)
    ORDER BY id DESC LIMIT :most
"""

# The first of both indexes: what a drain would take first of what is ready, and what falls due next.
NEXT_READY = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1)
    ORDER BY priority DESC, available_at, id LIMIT :most
"""
NEXT_DELAYED = """
    SELECT id, job_class, method, params, status, priority, retry_count, crash_count, available_at, created_at,
        updated_at, started_at, finished_at, error, runner, worker
    FROM custom_jobs WHERE status = 'pending' AND available_at IS NOT NULL AND promoted = 0
    ORDER BY available_at, priority, id LIMIT :most
"""
