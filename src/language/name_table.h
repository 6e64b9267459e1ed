/*
 * name_table.h
 *	  A set of names with a value each, for keys and anchors.
 */
#ifndef POLICY_NAME_TABLE_H
#define POLICY_NAME_TABLE_H

typedef struct PolicyNameEntry
{
	const char *name;			/* NULL: a free place */
	int			len;
	uint64		hash;
	void	   *value;
} PolicyNameEntry;

/* Lives in the memory context that was current when it was initialised. */
typedef struct PolicyNameTable
{
	MemoryContext context;
	uint64		seed;
	int			count;
	int			capacity;		/* a power of two */
	PolicyNameEntry *entries;
} PolicyNameTable;

/*
 * seed: a number that whoever chose the names cannot know, or they could choose
 * names that collide.
 */
extern void policy_name_table_init(PolicyNameTable *table, uint64 seed);
extern void policy_name_table_free(PolicyNameTable *table);

/* The entry of a name, or NULL. */
extern PolicyNameEntry *policy_name_table_find(const PolicyNameTable *table,
											   const char *name, int len);

/*
 * Enters a name, which is not copied, or replaces its value where it is there.
 */
extern void policy_name_table_put(PolicyNameTable *table, const char *name,
								  int len, void *value);

#endif							/* POLICY_NAME_TABLE_H */
