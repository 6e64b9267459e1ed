/*
 * counters.c
 *	  Rates that all sessions share.
 *
 * One segment of shared memory, of a fixed size, has everything: the table, and an
 * area in which its counters are allocated and that never grows.  It is made at the
 * first charge, pinned, and found through a small block with a name, so that nothing
 * need be preloaded.  The block is filled under AddinShmemInitLock, `ready` last.
 *
 * A bucket is a chain of counters; its partition's lock guards the chain and all that
 * its counters have.  It is held for the time of a look-up and a charge, with nothing
 * in between that could raise an error or wait.
 *
 * Who only reads takes no lock, as the lock of a key that all sessions ask about would
 * itself be what they wait for.  A partition's version is odd while its lock is held, and
 * another one afterwards: what was copied while it stayed the same and even is a counter
 * as it was.  Until that is known the copy may be of anything, of memory that was freed,
 * too; so places are checked before they are read, and nothing is made of the copy.  The
 * segment stays where it is.
 *
 * Requests that are told to come back get into line: were all of them told when the rate
 * next admits one, all would come then, and all but a few in vain, time and again.  Who
 * gets out of line in another way leaves a gap.
 *
 * A counter that nothing is charged to any more is freed when another is put into its
 * bucket, and all of them when there is no room.  One that counts is never freed:
 * while there is no room, new keys are refused.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/dsa.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dispatch/counters.h"
#include "engine/rate.h"
#include "errors.h"

/* Another layout needs another name: the block outlives the library's file. */
#define BLOCK_NAME "policy_engine velocity 2"

#define SEGMENT_SIZE (16 * 1024 * 1024)
#define NPARTITIONS 128
#define NBUCKETS 16384

/* A chain that is longer is read under its lock. */
#define LONGEST_PEEK 64

/* A table that is full is not looked through more often than this. */
#define SWEEP_INTERVAL USECS_PER_SEC

/* Nobody waits for longer because of a line. */
#define LONGEST_LINE SECS_PER_HOUR

/* How long an operator is told that keys were refused. */
#define REFUSAL_SHOWN USECS_PER_HOUR

typedef struct CounterBlock
{
	bool		ready;			/* the rest is set */
	dsm_handle	segment;
	int			tranche;
} CounterBlock;

typedef struct Counter
{
	dsa_pointer self;
	uint32		next;			/* a place, as in CounterTable.buckets */
	Oid			database;
	uint32		hash;
	int32		window_seconds;
	int32		keylen;
	int64		in_line;		/* requests that were told to come back */
	TimestampTz line_ends;		/* when the last of them does */
	Rate		rate;
	char		key[FLEXIBLE_ARRAY_MEMBER];
} Counter;

/* Each in a cache line of its own: all readers of a partition read its version. */
typedef union PartitionVersion
{
	pg_atomic_uint32 number;
	char		pad[PG_CACHE_LINE_SIZE];
} PartitionVersion;

/* The area follows it. */
typedef struct CounterTable
{
	LWLockPadded locks[NPARTITIONS];
	PartitionVersion versions[NPARTITIONS];
	pg_atomic_uint64 swept_at;	/* when all of it was looked through */
	pg_atomic_uint64 refused_at;	/* when a key was last refused */
	uint32		buckets[NBUCKETS];	/* places: bytes from the beginning of the
									 * table; 0: none */
} CounterTable;

#define AREA_OFFSET MAXALIGN(sizeof(CounterTable))

PG_FUNCTION_INFO_V1(policy_velocity_problem);

static CounterBlock *block = NULL;
static CounterTable *table = NULL;
static dsa_area * area = NULL;

/* Why they cannot be used; empty while they can. */
static char problem[256];

static void
init_block(void *pointer)
{
	memset(pointer, 0, sizeof(CounterBlock));
}

static void
use_segment(dsm_segment * segment)
{
	LWLockRegisterTranche(block->tranche, "policy_velocity");
	table = dsm_segment_address(segment);
}

/* Under AddinShmemInitLock. */
static void
make_segment(void)
{
	dsm_segment *segment = dsm_create(SEGMENT_SIZE, 0);
	CounterTable *made = dsm_segment_address(segment);

	memset(made, 0, sizeof(CounterTable));
	block->tranche = LWLockNewTrancheId();
	for (int i = 0; i < NPARTITIONS; i++)
	{
		LWLockInitialize(&made->locks[i].lock, block->tranche);
		pg_atomic_init_u32(&made->versions[i].number, 0);
	}
	pg_atomic_init_u64(&made->swept_at, 0);
	pg_atomic_init_u64(&made->refused_at, 0);
	area = dsa_create_in_place((char *) made + AREA_OFFSET, SEGMENT_SIZE - AREA_OFFSET,
							   block->tranche, NULL);
	dsa_pin(area);
	dsa_pin_mapping(area);
	dsa_set_size_limit(area, SEGMENT_SIZE - AREA_OFFSET);
	block->segment = dsm_segment_handle(segment);
	dsm_pin_segment(segment);
	use_segment(segment);
	block->ready = true;
}

static void
attach_segment(void)
{
	dsm_segment *segment = dsm_find_mapping(block->segment);

	if (segment == NULL)
		segment = dsm_attach(block->segment);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not attach to the segment of the velocity counters")));
	area = dsa_attach_in_place((char *) dsm_segment_address(segment) + AREA_OFFSET, NULL);
	dsa_pin_mapping(area);
	use_segment(segment);
}

/* Finds the table; where there is none yet, makes it, if asked to. */
static void
find_table(bool make)
{
	bool		found;

	if (block == NULL)
		block = policy_shared_block(BLOCK_NAME, sizeof(CounterBlock), init_block, &found);
	if (!make && !block->ready)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	if (block->ready)
		attach_segment();
	else
		make_segment();
	LWLockRelease(AddinShmemInitLock);
}

/*
 * The same, an error being told in `problem`.  What is found is the session's: it must
 * not be any transaction's.  No caller of a function holds a lock of this kind, so
 * those that are held after an error are those that it left.
 */
static void
open_table(bool make)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	ResourceOwner owner = CurrentResourceOwner;

	problem[0] = '\0';
	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		find_table(make);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		LWLockReleaseAll();
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		FlushErrorState();
		strlcpy(problem, error->message, sizeof(problem));
		FreeErrorData(error);
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(caller);
}

static Counter *
counter_at(uint32 place)
{
	return place == 0 ? NULL : (Counter *) ((char *) table + place);
}

static LWLock *
lock_of(uint32 number)
{
	return &table->locks[number % NPARTITIONS].lock;
}

static pg_atomic_uint32 *
version_of(uint32 number)
{
	return &table->versions[number % NPARTITIONS].number;
}

/* Between these two, what the partition has may be changed. */
static void
lock_partition(uint32 number)
{
	LWLockAcquire(lock_of(number), LW_EXCLUSIVE);
	pg_atomic_write_u32(version_of(number), pg_atomic_read_u32(version_of(number)) | 1);
	pg_write_barrier();
}

static void
unlock_partition(uint32 number)
{
	pg_write_barrier();
	pg_atomic_write_u32(version_of(number), pg_atomic_read_u32(version_of(number)) + 1);
	LWLockRelease(lock_of(number));
}

static inline bool
is_of_key(const Counter *counter, uint32 hash, const char *key, int keylen)
{
	return counter->hash == hash && counter->database == MyDatabaseId &&
		counter->keylen == keylen && memcmp(counter->key, key, keylen) == 0;
}

static Counter *
find_counter(uint32 hash, const char *key, int keylen)
{
	Counter    *counter = counter_at(table->buckets[hash % NBUCKETS]);

	while (counter != NULL && !is_of_key(counter, hash, key, keylen))
		counter = counter_at(counter->next);
	return counter;
}

/* Whether a counter with a key of that length can be read at a place, whatever is there. */
static inline bool
is_readable(uint32 place, int keylen)
{
	return place >= AREA_OFFSET && place % MAXIMUM_ALIGNOF == 0 &&
		place <= SEGMENT_SIZE - offsetof(Counter, key) - keylen;
}

/*
 * Copies the counter of a key, but for the key, without a lock.  Returns false where
 * somebody is writing, or was meanwhile: then nothing of it means anything.
 */
static bool
peek_counter(uint32 hash, const char *key, int keylen, Counter *copy, bool *found)
{
	uint32		version = pg_atomic_read_u32(version_of(hash));
	volatile uint32 *link = &table->buckets[hash % NBUCKETS];
	uint32		place;

	if (version % 2 != 0)
		return false;
	pg_read_barrier();
	*found = false;
	for (int steps = 0; !*found && (place = *link) != 0; steps++)
	{
		Counter    *counter = counter_at(place);

		if (steps == LONGEST_PEEK || !is_readable(place, keylen))
			return false;
		*found = is_of_key(counter, hash, key, keylen);
		if (*found)
			memcpy(copy, counter, offsetof(Counter, key));
		link = &counter->next;
	}
	pg_read_barrier();
	return pg_atomic_read_u32(version_of(hash)) == version;
}

/* The same, under the lock where it must be; false: there is no such counter. */
static bool
copy_counter(uint32 hash, const char *key, int keylen, Counter *copy)
{
	Counter    *counter;
	bool		found;

	if (peek_counter(hash, key, keylen, copy, &found))
		return found;
	LWLockAcquire(lock_of(hash), LW_SHARED);
	counter = find_counter(hash, key, keylen);
	if (counter != NULL)
		memcpy(copy, counter, offsetof(Counter, key));
	LWLockRelease(lock_of(hash));
	return counter != NULL;
}

/* Frees the counters of a bucket that do not count any more.  The lock is held. */
static void
sweep_bucket(uint32 number, TimestampTz now)
{
	uint32	   *link = &table->buckets[number];

	while (*link != 0)
	{
		Counter    *counter = counter_at(*link);

		if (rate_is_late(&counter->rate, counter->window_seconds, now))
			rate_set_back(&counter->rate, counter->window_seconds, now);
		if (rate_is_idle(&counter->rate, counter->window_seconds, now))
		{
			*link = counter->next;
			dsa_free(area, counter->self);
		}
		else
			link = &counter->next;
	}
}

/* Sweeps all of it, unless somebody just did; false then. */
static bool
sweep_table(TimestampTz now)
{
	uint64		before = pg_atomic_read_u64(&table->swept_at);

	if (now - (TimestampTz) before < SWEEP_INTERVAL && now >= (TimestampTz) before)
		return false;
	if (!pg_atomic_compare_exchange_u64(&table->swept_at, &before, (uint64) now))
		return false;
	for (uint32 partition = 0; partition < NPARTITIONS; partition++)
	{
		lock_partition(partition);
		for (uint32 number = partition; number < NBUCKETS; number += NPARTITIONS)
			sweep_bucket(number, now);
		unlock_partition(partition);
	}
	return true;
}

/* Puts a new counter into its bucket; NULL where there is no room.  The lock is held. */
static Counter *
add_counter(uint32 hash, const char *key, int keylen, int window_seconds, TimestampTz now)
{
	uint32		number = hash % NBUCKETS;
	dsa_pointer pointer;
	Counter    *counter;

	sweep_bucket(number, now);
	pointer = dsa_allocate_extended(area, offsetof(Counter, key) + keylen, DSA_ALLOC_NO_OOM);
	if (!DsaPointerIsValid(pointer))
		return NULL;
	counter = dsa_get_address(area, pointer);
	memset(counter, 0, offsetof(Counter, key));
	counter->self = pointer;
	counter->database = MyDatabaseId;
	counter->hash = hash;
	counter->window_seconds = window_seconds;
	counter->keylen = keylen;
	memcpy(counter->key, key, keylen);
	counter->next = table->buckets[number];
	table->buckets[number] = (char *) counter - (char *) table;
	return counter;
}

/* The counter of a key, made where there is none, its lock held; NULL: no room. */
static Counter *
lock_counter(uint32 hash, const char *key, int keylen, int window_seconds)
{
	TimestampTz now;
	Counter    *counter;

	for (int tries = 0; tries < 2; tries++)
	{
		lock_partition(hash);
		counter = find_counter(hash, key, keylen);
		if (counter != NULL)
			return counter;
		now = GetCurrentTimestamp();
		counter = add_counter(hash, key, keylen, window_seconds, now);
		if (counter != NULL)
			return counter;
		unlock_partition(hash);
		if (!sweep_table(now))
			break;
	}
	pg_atomic_write_u64(&table->refused_at, (uint64) now);
	return NULL;
}

static CounterState
state_of(const Counter *counter, int64 limit, TimestampTz at, int *wait)
{
	int			window_seconds = counter->window_seconds;
	int			first;
	int			last;

	if (rate_admits(&counter->rate, window_seconds, limit, at))
		return COUNTER_ADMITS;
	first = rate_wait(&counter->rate, window_seconds, limit, at);
	last = rate_wait_in_line(&counter->rate, window_seconds, limit,
							 at < counter->line_ends ? counter->in_line : 0, at);
	*wait = Min(last, Max(first, LONGEST_LINE));
	return COUNTER_EXCEEDED;
}

/* One more has to come back. */
static void
get_into_line(Counter *counter, TimestampTz at, int wait)
{
	if (at >= counter->line_ends)
		counter->in_line = 0;
	counter->in_line++;
	counter->line_ends = Max(counter->line_ends, at + wait * USECS_PER_SEC);
}

/* A counter, of which this is a copy, says how it is now, whatever past time it is asked about. */
static CounterState
read_counter(Counter *copy, int64 limit, TimestampTz at, int *wait)
{
	if (rate_is_late(&copy->rate, copy->window_seconds, at))
	{
		at = GetCurrentTimestamp();
		if (rate_is_late(&copy->rate, copy->window_seconds, at))
			rate_set_back(&copy->rate, copy->window_seconds, at);
	}
	return state_of(copy, limit, at, wait);
}

/*
 * A request that is too late is told nothing, unless it is the clock that was set
 * back.
 */
static CounterState
charge_counter(Counter *counter, int64 limit, TimestampTz at, CounterUse use, int *wait)
{
	int			window_seconds = counter->window_seconds;
	CounterState state;

	if (rate_is_late(&counter->rate, window_seconds, at))
	{
		TimestampTz now = GetCurrentTimestamp();

		if (!rate_is_late(&counter->rate, window_seconds, now))
			return COUNTER_UNKNOWN;
		rate_set_back(&counter->rate, window_seconds, now);
		at = now;
	}
	if (use == COUNTER_CHARGE_RETURNING && counter->in_line > 0)
		counter->in_line--;
	state = state_of(counter, limit, at, wait);
	if (state == COUNTER_ADMITS || use == COUNTER_CHARGE)
		rate_charge(&counter->rate, window_seconds, at);
	else
		get_into_line(counter, at, *wait);
	return state;
}

CounterState
counters_ask(const char *key, int keylen, int window_seconds, int64 limit, TimestampTz at,
			 CounterUse use, int *wait)
{
	uint32		hash;
	Counter    *counter;
	Counter		copy;
	CounterState state;

	if (RecoveryInProgress())
		return COUNTER_UNKNOWN;
	if (keylen > COUNTER_MAX_KEY)
		return COUNTER_REFUSED;
	if (table == NULL)
		open_table(use != COUNTER_READ);
	/* Without an error there is none, and nothing was ever charged. */
	if (table == NULL)
		return problem[0] != '\0' ? COUNTER_UNKNOWN : COUNTER_ADMITS;
	hash = hash_bytes((const unsigned char *) key, keylen) ^ murmurhash32(MyDatabaseId);
	if (use == COUNTER_READ)
	{
		if (!copy_counter(hash, key, keylen, &copy))
			return COUNTER_ADMITS;
		return read_counter(&copy, limit, at, wait);
	}
	counter = lock_counter(hash, key, keylen, window_seconds);
	if (counter == NULL)
		return COUNTER_REFUSED;
	state = charge_counter(counter, limit, at, use, wait);
	unlock_partition(hash);
	return state;
}

/* policy.velocity_problem() */
Datum
policy_velocity_problem(PG_FUNCTION_ARGS)
{
	TimestampTz refused_at;

	if (RecoveryInProgress())
		PG_RETURN_NULL();
	if (table == NULL)
		open_table(false);
	if (problem[0] != '\0')
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("they cannot be used: %s", problem)));
	if (table == NULL)
		PG_RETURN_NULL();
	refused_at = (TimestampTz) pg_atomic_read_u64(&table->refused_at);
	if (refused_at == 0 || refused_at < GetCurrentTimestamp() - REFUSAL_SHOWN)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("their memory was full at %s",
											  timestamptz_to_str(refused_at))));
}
