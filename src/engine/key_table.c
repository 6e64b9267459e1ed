/*
 * key_table.c
 *	  A hash table of keys that rules are filed under.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "engine/key_table.h"

StaticAssertDecl(sizeof(KeySlot) == POLICY_CACHE_LINE, "a slot is a cache line");

RuleKey
key_make(int dimension, const char *bytes, int len, bool prefix)
{
	RuleKey		key = {.bytes = bytes, .len = len, .dimension = dimension, .prefix = prefix};
	KeyHash		hash = {0};

	key.hash = key_hash(&hash, bytes, len, dimension, prefix);
	return key;
}

static inline uint8
tag_of(uint32 hash)
{
	return (uint8) (hash >> 24) | 1;
}

static inline bool
same_key(const KeySlot *slot, const RuleKey *key)
{
	return slot->hash == key->hash && slot->len == key->len &&
		slot->dimension == key->dimension && slot->prefix == key->prefix &&
		memcmp(slot->len <= KEY_BYTES ? slot->bytes.here : slot->bytes.elsewhere,
			   key->bytes, key->len) == 0;
}

/* The key's slot, or the free one where it would go. */
static uint32
find_slot(const KeyTable *table, const RuleKey *key)
{
	uint32		slot = key->hash & table->mask;
	uint8		tag = tag_of(key->hash);

	while (table->tags[slot] != 0 &&
		   !(table->tags[slot] == tag && same_key(&table->slots[slot], key)))
		slot = (slot + 1) & table->mask;
	return slot;
}

KeySlot *
key_table_search(const KeyTable *table, const RuleKey *key)
{
	uint32		slot = find_slot(table, key);

	return table->tags[slot] == 0 ? NULL : &table->slots[slot];
}

static void
fill_slot(KeySlot *slot, const RuleKey *key)
{
	slot->hash = key->hash;
	slot->len = key->len;
	slot->dimension = key->dimension;
	slot->prefix = key->prefix;
	if (key->len > KEY_BYTES)
		slot->bytes.elsewhere = key->bytes;
	else if (key->len > 0)
		memcpy(slot->bytes.here, key->bytes, key->len);
}

KeySlot *
key_table_enter(KeyTable *table, const RuleKey *key)
{
	uint32		slot = find_slot(table, key);
	uint32		bit = key_filter_bit(table, key->hash);

	if (table->tags[slot] == 0)
	{
		fill_slot(&table->slots[slot], key);
		table->tags[slot] = tag_of(key->hash);
		table->filter[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
	table->slots[slot].count++;
	return &table->slots[slot];
}

static void *
alloc_zero(Size size)
{
	return memset(MemoryContextAllocHuge(CurrentMemoryContext, size), 0, size);
}

void
key_table_init(KeyTable *table, int64 capacity)
{
	uint64		size = 16;

	while (size * 3 < (uint64) capacity * 4)
		size *= 2;
	table->slots = (KeySlot *) TYPEALIGN(POLICY_CACHE_LINE, alloc_zero(sizeof(KeySlot) * size + POLICY_CACHE_LINE));
	table->tags = alloc_zero(size);
	table->filter = alloc_zero(size * FILTER_BITS / 8);
	table->mask = size - 1;
}
