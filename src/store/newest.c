/*
 * newest.c
 *	  The newest release, for as long as nothing was released since.
 *
 * A look at policy.releases costs more than a decision.  So a session keeps what
 * was the newest release of all, and takes no look while it has had no message since.
 *
 * The message is a relcache invalidation of policy.release_signal, a table that
 * nothing else uses, sent by an ALWAYS trigger of policy.releases.  Like all invalidations
 * it is sent when the transaction commits, in WAL too, so that standbys get it; a
 * transaction that rolls back takes its own back; a full queue resets everything.
 * Messages are accepted before each use.
 *
 * A transaction can be seen a moment before its messages are sent.  So one that has
 * released locks the table, from its commit on until they have been (locks go last, on a
 * standby too, which knows of this mode alone), and who could not lock it just then takes
 * a look.
 *
 * What is kept must be the newest under a catalog snapshot: a session whose own
 * snapshot is old would keep an old release for ever, as no second message comes.
 * No message may come in between: `signals` counts them, and is compared.  It must
 * not be this transaction's own, which may be rolled back.  And the triggers must be
 * there: who has disabled them (which is a message itself) has every look taken.  A
 * release whose snapshot cannot be read is not kept, and so needs no message when it
 * can.
 *
 * It stands for a snapshot that sees the release, and for no older one: a cursor, or
 * a transaction that reads as of its beginning, takes its own look.
 *
 * The callback only counts: it may run while a transaction aborts.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/cache.h"
#include "store/newest.h"
#include "store/release.h"
#include "store/table.h"

/* Tables whose messages count: the signal, and what DDL could be done to. */
static const char *const watched_names[] = {"release_signal", "releases", "snapshots"};
static Oid	watched[lengthof(watched_names)];

/* The signal's place among them. */
#define SIGNAL 0

/* The count begins past this. */
#define NOT_WATCHED 0

static uint64 signals = 1;

/* The signal, where this transaction has sent it; not its name, which may be gone then. */
static Oid	to_lock = InvalidOid;

typedef struct KnownRelease
{
	bool		valid;
	uint64		signals;
	TransactionId xid;			/* that made the release */
	PolicyLook	look;
} KnownRelease;

static KnownRelease known;

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid))
		signals++;
	for (int i = 0; i < (int) lengthof(watched); i++)
	{
		if (watched[i] == relid)
			signals++;
	}
}

static void
lock_at_commit(XactEvent event, void *arg)
{
	if (!OidIsValid(to_lock))
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		LockRelationOid(to_lock, AccessExclusiveLock);
	else
		to_lock = InvalidOid;
}

void
policy_newest_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, 0);
	RegisterXactCallback(lock_at_commit, NULL);
}

void
policy_newest_signal(void)
{
	to_lock = policy_relation_oid("release_signal");
	signals++;
	CacheInvalidateRelcacheByRelid(to_lock);
}

/* Whether what can be seen of all releases has sent its messages. */
static bool
all_have_signalled(void)
{
	Oid			signal = watched[SIGNAL];

	if (!ConditionalLockRelationOid(signal, AccessShareLock))
		return false;
	UnlockRelationOid(signal, AccessShareLock);
	return true;
}

uint64
policy_newest_watch(void)
{
	static bool has_looked = false;

	/* A session's first decision is slow enough; it may be its only one. */
	if (!has_looked)
	{
		has_looked = true;
		return NOT_WATCHED;
	}
	for (int i = 0; i < (int) lengthof(watched); i++)
		watched[i] = policy_relation_oid(watched_names[i]);
	AcceptInvalidationMessages();
	return signals;
}

bool
policy_newest_known(Snapshot snapshot, PolicyLook *look)
{
	if (!known.valid || !all_have_signalled())
		return false;
	AcceptInvalidationMessages();
	if (known.signals != signals)
		return false;
	if (snapshot != NULL && (snapshot->snapshot_type != SNAPSHOT_MVCC ||
							 XidInMVCCSnapshot(known.xid, snapshot)))
		return false;
	policy_look_copy(look, &known.look);
	return true;
}

static bool
fires_always(const TriggerDesc *triggers, const char *name)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (strcmp(triggers->triggers[i].tgname, name) == 0)
			return triggers->triggers[i].tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	return false;
}

/* Whether nothing can change a release or a snapshot without a message. */
static bool
changes_are_signalled(void)
{
	Relation	releases = policy_table_open("releases");
	Relation	snapshots = policy_table_open("snapshots");
	bool		signalled = fires_always(releases->trigdesc, "release_made") &&
	fires_always(releases->trigdesc, "refuse_change") &&
	fires_always(releases->trigdesc, "refuse_truncate") &&
	fires_always(snapshots->trigdesc, "refuse_change") &&
	fires_always(snapshots->trigdesc, "refuse_truncate");

	table_close(snapshots, NoLock);
	table_close(releases, NoLock);
	return signalled;
}

/* Whether the release is the newest of all, and committed. */
static bool
is_newest(int64 release_id, TransactionId *xid)
{
	int64		newest_id;
	text	   *name;

	return release_newest(NULL, &newest_id, &name, xid) && newest_id == release_id &&
		!TransactionIdIsCurrentTransactionId(*xid);
}

void
policy_newest_learn(const PolicyLook *look, uint64 before)
{
	TransactionId xid;

	if (before == NOT_WATCHED || !look->found || IsInParallelMode())
		return;
	if (!is_newest(look->release_id, &xid) ||
		!changes_are_signalled() || signals != before)
		return;
	known.valid = false;
	policy_look_forget(&known.look);
	policy_look_copy(&known.look, look);
	known.xid = xid;
	known.signals = before;
	known.valid = true;
}
