/*
 * check_immaterial.c
 *	  What a condition reads is material.
 *
 * Two paths can overlap only where the keys of one, array steps left out, begin
 * the other's.  So what is read is found by its keys, and policy_paths_overlap()
 * is asked about few pairs, not about every immaterial path with every read.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "language/check.h"
#include "language/name_table.h"

typedef struct PathRead
{
	const PolicyPath *path;
	struct PathRead *next;
} PathRead;

/* The paths that are read whose keys begin with some. */
typedef struct KeyPrefix
{
	PathRead   *ending;			/* they have no more keys */
	PathRead   *longer;
} KeyPrefix;

static KeyPrefix *
find_prefix(const PolicyNameTable *prefixes, const StringInfo keys)
{
	PolicyNameEntry *entry = policy_name_table_find(prefixes, keys->data, keys->len);

	return entry ? entry->value : NULL;
}

static void
add_to_prefix(PolicyNameTable *prefixes, const StringInfo keys, const PolicyPath *path, bool ending)
{
	KeyPrefix  *prefix = find_prefix(prefixes, keys);
	PathRead   *read = palloc(sizeof(PathRead));
	PathRead  **list;

	if (prefix == NULL)
	{
		prefix = palloc0(sizeof(KeyPrefix));
		policy_name_table_put(prefixes, memcpy(palloc(keys->len + 1), keys->data, keys->len),
							  keys->len, prefix);
	}
	list = ending ? &prefix->ending : &prefix->longer;
	read->path = path;
	read->next = *list;
	*list = read;
}

/* Adds a key, with its length before it: keys hold any character. */
static void
append_key(StringInfo keys, const PolicyStep *step)
{
	appendBinaryStringInfo(keys, (const char *) &step->keylen, sizeof(step->keylen));
	appendBinaryStringInfo(keys, step->key, step->keylen);
}

static void
enter_read(PolicyNameTable *prefixes, StringInfo keys, const PolicyPath *path)
{
	CHECK_FOR_INTERRUPTS();
	resetStringInfo(keys);
	for (int i = 0; i < path->nsteps && path->steps[i].kind != POLICY_STEP_ANY_BELOW; i++)
	{
		if (path->steps[i].kind != POLICY_STEP_KEY)
			continue;
		add_to_prefix(prefixes, keys, path, false);
		append_key(keys, &path->steps[i]);
	}
	add_to_prefix(prefixes, keys, path, true);
}

static const PolicyPath *
overlapping_in(const PathRead *reads, const PolicyPath *path)
{
	for (; reads != NULL; reads = reads->next)
	{
		CHECK_FOR_INTERRUPTS();
		if (policy_paths_overlap(path, reads->path))
			return reads->path;
	}
	return NULL;
}

/* A path that is read and that overlaps this one, or NULL. */
static const PolicyPath *
find_overlap(const PolicyNameTable *prefixes, StringInfo keys, const PolicyPath *path)
{
	resetStringInfo(keys);
	for (int i = 0;; i++)
	{
		const KeyPrefix *prefix;
		const PolicyPath *found;

		while (i < path->nsteps && path->steps[i].kind != POLICY_STEP_KEY)
			i++;
		prefix = find_prefix(prefixes, keys);
		if (prefix == NULL)
			return NULL;
		found = overlapping_in(prefix->ending, path);
		if (found == NULL && i >= path->nsteps)
			found = overlapping_in(prefix->longer, path);
		if (found != NULL || i >= path->nsteps)
			return found;
		append_key(keys, &path->steps[i]);
	}
}

static void
enter_reads(PolicyNameTable *prefixes, StringInfo keys, const PolicyPathList *reads)
{
	uint64		seed;

	if (!pg_strong_random(&seed, sizeof(seed)))
		seed = (uint64) (uintptr_t) prefixes;
	policy_name_table_init(prefixes, seed);
	for (int i = 0; i < reads->count; i++)
		enter_read(prefixes, keys, &reads->items[i]);
}

static bool
has_immaterial(const Policy *policy)
{
	for (int i = 0; i < policy->nrules; i++)
	{
		if (policy->rules[i].approval != NULL && policy->rules[i].approval->immaterial.count > 0)
			return true;
	}
	return false;
}

/* The job's hash leaves out what is immaterial: nothing may decide by it. */
void
check_immaterial(Check *check, const Policy *policy)
{
	PolicyNameTable prefixes;
	StringInfoData keys;

	if (!has_immaterial(policy))
		return;
	initStringInfo(&keys);
	enter_reads(&prefixes, &keys, &check->reads);
	for (int i = 0; i < policy->nrules; i++)
	{
		const PolicyApproval *approval = policy->rules[i].approval;

		for (int j = 0; approval != NULL && j < approval->immaterial.count; j++)
		{
			const PolicyPath *path = &approval->immaterial.items[j];
			const PolicyPath *read = find_overlap(&prefixes, &keys, path);

			if (read != NULL)
				policy_diagnose(check->diags, path->mark, POLICY_SEVERITY_ERROR, "path_overlap",
								"What a condition reads is material: leave it out here.",
								"immaterial path \"%s\" overlaps what the when at %d:%d reads",
								policy_excerpt(path->source, (int) strlen(path->source)),
								read->mark.line, read->mark.column);
		}
	}
	policy_name_table_free(&prefixes);
}
