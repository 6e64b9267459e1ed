/*
 * verdict_cache.c
 *	  Verdicts of many rules, kept by what they follow from.
 *
 * Two generations, each a table with a memory context of its own.  New entries go
 * into the young one; once it is full, in entries or in bytes, it becomes the old
 * one, and what was old is freed as a whole: nothing is moved or counted at a hit.
 *
 * A key that is met once costs its hash only: `seen` remembers the hashes of those
 * that were met lately, and the second time enters.
 *
 * A policy is known by a number that no other ever has, and so a freed one's entries
 * are never met again.  A verdict that is found is copied, but for the ids of its
 * rules: those are lent until the epoch changes, which freeing a generation does.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "engine/key_table.h"
#include "engine/verdict_cache.h"

#define GENERATION_BYTES (4 * 1024 * 1024)
#define ENTRY_BYTES (128 * 1024)
#define SEEN_SETS 4096

typedef struct Entry
{
	struct Entry *next;
	VerdictKey	key;
	VerdictParts parts;
} Entry;

typedef struct Generation
{
	MemoryContext context;		/* NULL: nothing is in it */
	Entry	  **buckets;
	uint32		mask;
	int			count;
	Size		bytes;
} Generation;

int			policy_decision_cache_size = 10000;

static Generation young;
static Generation old;
static uint64 seen[SEEN_SETS];
static uint64 epoch = 0;
static uint64 generations = 0;	/* the young one's number */

/* A rule's or a run's address leaves room for a standing. */
#define STANDING_BITS 0x03

StaticAssertDecl(POLICY_APPLIES <= STANDING_BITS, "a standing fits beside an address");

void
verdict_key_make(VerdictKey *key, const CompiledPolicy *policy, const FoundRules *found,
				 const ApplyingRules *open)
{
	uint64	   *word = palloc(sizeof(uint64) * (found->nruns + open->count + 2));

	key->words = word;
	*word++ = policy->serial;
	*word++ = open->count;
	for (int i = 0; i < open->count; i++)
		*word++ = (uint64) (uintptr_t) open->items[i].rule | open->items[i].standing;
	for (int i = 0; i < found->nruns; i++)
	{
		if (found->runs[i].count > found->runs[i].open)
			*word++ = (uint64) (uintptr_t) found->runs[i].rules;
	}
	key->nwords = word - key->words;
	key->hash = 0;
	for (int i = 0; i < key->nwords; i++)
		key->hash = key_hash_mix(key->hash, key->words[i]);
}

static VerdictParts *
find_in(const Generation *generation, const VerdictKey *key)
{
	if (generation->context == NULL)
		return NULL;
	for (Entry *entry = generation->buckets[key->hash & generation->mask]; entry != NULL;
		 entry = entry->next)
	{
		if (entry->key.hash == key->hash && entry->key.nwords == key->nwords &&
			memcmp(entry->key.words, key->words, sizeof(uint64) * key->nwords) == 0)
			return &entry->parts;
	}
	return NULL;
}

static void *
copy(const void *bytes, Size size)
{
	return size == 0 ? NULL : memcpy(palloc(size), bytes, size);
}

/* Copies what a verdict borrows from its job's memory, or from the cache. */
static void
copy_parts(PolicyVerdict *verdict)
{
	if (verdict->winner == NULL || verdict->winner->reason == NULL)
		verdict->reason = copy(verdict->reason, VARSIZE(verdict->reason));
	verdict->constraints = copy(verdict->constraints, VARSIZE(verdict->constraints));
	verdict->matched = copy(verdict->matched, sizeof(CompiledRule *) * verdict->nmatched);
	verdict->monitored = copy(verdict->monitored, sizeof(CompiledRule *) * verdict->nmonitored);
}

bool
verdict_cache_find(const VerdictKey *key, PolicyVerdict *verdict)
{
	VerdictParts *parts = find_in(&young, key);

	if (parts == NULL)
		parts = find_in(&old, key);
	if (parts == NULL)
		return false;
	*verdict = parts->verdict;
	verdict->parts = parts;
	verdict->parts_epoch = epoch;
	copy_parts(verdict);
	return true;
}

static void
free_generation(Generation *generation)
{
	if (generation->context != NULL)
		MemoryContextDelete(generation->context);
	memset(generation, 0, sizeof(Generation));
	epoch++;
}

static int
generation_entries(void)
{
	return Max(policy_decision_cache_size / 2, 1);
}

static void
begin_generation(Generation *generation)
{
	uint32		size = 64;

	while (size < (uint32) generation_entries() && size < 65536)
		size *= 2;
	generation->context = AllocSetContextCreate(TopMemoryContext, "policy verdicts",
												ALLOCSET_DEFAULT_SIZES);
	generation->buckets = MemoryContextAllocZero(generation->context, sizeof(Entry *) * size);
	generation->mask = size - 1;
}

static void
make_room(Size size)
{
	if (young.context != NULL && young.count < generation_entries() &&
		young.bytes + size <= GENERATION_BYTES)
		return;
	free_generation(&old);
	old = young;
	memset(&young, 0, sizeof(Generation));
	begin_generation(&young);
	generations++;
}

/* Whether the key was met lately; it was from now on. */
static bool
was_seen(uint64 hash)
{
	uint64	   *place = &seen[hash % SEEN_SETS];
	bool		was = *place == hash;

	*place = hash;
	return was;
}

static Size
verdict_size(const VerdictKey *key, const PolicyVerdict *verdict)
{
	return sizeof(Entry) + sizeof(uint64) * key->nwords + VARSIZE(verdict->reason) +
		VARSIZE(verdict->constraints) +
		sizeof(CompiledRule *) * (verdict->nmatched + verdict->nmonitored);
}

void
verdict_cache_enter(const VerdictKey *key, PolicyVerdict *verdict)
{
	Size		size = verdict_size(key, verdict);
	MemoryContext caller;
	Entry	   *entry;

	if (size > ENTRY_BYTES || !was_seen(key->hash))
		return;
	make_room(size);
	caller = MemoryContextSwitchTo(young.context);
	entry = palloc0(sizeof(Entry));
	entry->key = *key;
	entry->key.words = copy(key->words, sizeof(uint64) * key->nwords);
	entry->parts.verdict = *verdict;
	copy_parts(&entry->parts.verdict);
	entry->parts.generation = generations;
	MemoryContextSwitchTo(caller);
	entry->next = young.buckets[key->hash & young.mask];
	young.buckets[key->hash & young.mask] = entry;
	young.count++;
	young.bytes += size;
	verdict->parts = &entry->parts;
	verdict->parts_epoch = epoch;
}

struct varlena *
verdict_cache_ids(const PolicyVerdict *verdict)
{
	return verdict->parts != NULL && verdict->parts_epoch == epoch ?
		verdict->parts->rule_ids : NULL;
}

void
verdict_cache_add_ids(const PolicyVerdict *verdict, const struct varlena *rule_ids)
{
	Size		size = VARSIZE(rule_ids);
	MemoryContext caller;

	/* Found in the old generation, it goes with it: not worth the while. */
	if (verdict->parts == NULL || verdict->parts_epoch != epoch || size > ENTRY_BYTES ||
		verdict->parts->generation != generations ||
		young.bytes + size > GENERATION_BYTES)
		return;
	caller = MemoryContextSwitchTo(young.context);
	verdict->parts->rule_ids = copy(rule_ids, size);
	MemoryContextSwitchTo(caller);
	young.bytes += size;
}
