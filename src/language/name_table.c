/*
 * name_table.c
 *	  A set of names with a value each: open addressing, linear probing.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "language/name_table.h"

#define FIRST_CAPACITY 64

void
policy_name_table_init(PolicyNameTable *table, uint64 seed)
{
	table->context = CurrentMemoryContext;
	table->seed = seed;
	table->count = 0;
	table->capacity = 0;
	table->entries = NULL;
}

void
policy_name_table_free(PolicyNameTable *table)
{
	if (table->entries)
		pfree(table->entries);
	policy_name_table_init(table, table->seed);
}

static uint64
hash_name(const PolicyNameTable *table, const char *name, int len)
{
	return hash_bytes_extended((const unsigned char *) name, len, table->seed);
}

/* The entry of a name, or the free place where it would go. */
static PolicyNameEntry *
locate(const PolicyNameTable *table, const char *name, int len, uint64 hash)
{
	int			mask = table->capacity - 1;

	for (int i = (int) (hash & mask);; i = (i + 1) & mask)
	{
		PolicyNameEntry *entry = &table->entries[i];

		if (entry->name == NULL)
			return entry;
		if (entry->hash == hash && entry->len == len &&
			memcmp(entry->name, name, len) == 0)
			return entry;
	}
}

static void
grow(PolicyNameTable *table)
{
	PolicyNameEntry *old = table->entries;
	int			old_capacity = table->capacity;

	table->capacity = Max(FIRST_CAPACITY, old_capacity * 2);
	table->entries = MemoryContextAllocZero(table->context,
											table->capacity * sizeof(PolicyNameEntry));
	for (int i = 0; i < old_capacity; i++)
	{
		if (old[i].name)
			*locate(table, old[i].name, old[i].len, old[i].hash) = old[i];
	}
	if (old)
		pfree(old);
}

PolicyNameEntry *
policy_name_table_find(const PolicyNameTable *table, const char *name, int len)
{
	PolicyNameEntry *entry;

	if (table->count == 0)
		return NULL;
	entry = locate(table, name, len, hash_name(table, name, len));
	return entry->name ? entry : NULL;
}

void
policy_name_table_put(PolicyNameTable *table, const char *name, int len,
					  void *value)
{
	uint64		hash = hash_name(table, name, len);
	PolicyNameEntry *entry;

	if (table->count >= table->capacity / 2)
		grow(table);
	entry = locate(table, name, len, hash);
	if (entry->name == NULL)
	{
		entry->name = name;
		entry->len = len;
		entry->hash = hash;
		table->count++;
	}
	entry->value = value;
}
