/*
 * rule_index.c
 *	  Which rules a job can match, without trying them all.
 *
 * Building goes twice over the rules: first every key that a rule could be filed
 * under is counted, then each rule is filed under its cheapest condition's keys.
 * A dimension is a match key: one of the fields, or a label's name.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "engine/key_table.h"
#include "engine/rule_index.h"

/* A job has about so many values in a set. */
#define SET_SIZE 2

typedef struct Dimension
{
	int			nvalues;		/* keys that are a whole value */
	int		   *lengths;		/* of its prefixes, ascending, each once */
	int			nlengths;
} Dimension;

struct RuleIndex
{
	CompiledRule *rules;
	uint8	   *briefs;
	int			nrules;
	MemoryContext context;		/* the policy's */
	bool		spared;			/* a job has gone without what follows */
	bool		begun;
	bool		built;
	KeyTable	labels;			/* the names that conditions look at */
	KeyTable	keys;
	Dimension  *dimensions;		/* the fields', then the labels' */
	int			ndimensions;
	int		   *postings;
	int		   *always;			/* rules that are filed nowhere */
	int			nalways;
};

/* One condition's keys: it holds only where a value meets one of them. */
typedef struct KeyList
{
	RuleKey    *keys;
	int			count;
	int			capacity;
	int			proves;			/* the condition that holds where a value
								 * meets one of the keys, or -1 */
} KeyList;

/* How often the rules' conditions name a dimension, while building. */
typedef struct DimensionUse
{
	int			values;
	int			prefixes;
} DimensionUse;

/* A rule and a key that it is filed under. */
typedef struct ChosenKey
{
	RuleKey		key;
	int			rule;
} ChosenKey;

typedef struct IndexBuild
{
	RuleIndex  *index;
	KeyTable	counted;		/* every key that some condition has */
	DimensionUse *uses;			/* by dimension */
	KeyList		list;			/* scratch: the condition at hand */
	KeyList		best;			/* scratch: the rule's cheapest so far */
	double		best_cost;
	ChosenKey  *chosen;
	int			nchosen;
	int			capacity;
} IndexBuild;

static int
label_dimension(const RuleIndex *index, const char *name, int len)
{
	RuleKey		key = key_make(0, name, len, false);
	KeySlot    *found = key_table_find(&index->labels, &key);

	return found != NULL ? found->first : -1;
}

/* What a value must be, or begin with, for the glob to match it. */
static RuleKey
glob_key(int dimension, const Glob *glob)
{
	const char *bytes;
	int			len;
	bool		whole;

	glob_literal_prefix(glob, &bytes, &len, &whole);
	return key_make(dimension, bytes, len, !whole);
}

/* Whether a value that meets the glob's key matches the glob. */
static bool
key_proves(const Glob *glob)
{
	return glob->shape != GLOB_SEGMENTS;
}

static void
list_globs(KeyList *list, int dimension, const Glob *globs, int count, int condition)
{
	if (list->capacity < count)
	{
		list->capacity = Max(count, 16);
		list->keys = palloc(sizeof(RuleKey) * list->capacity);
	}
	list->proves = condition;
	for (int i = 0; i < count; i++)
	{
		list->keys[i] = glob_key(dimension, &globs[i]);
		if (!key_proves(&globs[i]))
			list->proves = -1;
	}
	list->count = count;
}

/* What is done with each condition's keys, in build->list. */
typedef void (*ListVisitor) (IndexBuild *build);

/* condition: its number where it is a field's, else -1. */
static void
visit_lists(IndexBuild *build, int dimension, const GlobLists *lists, int condition,
			ListVisitor visit)
{
	bool		alone = lists->nnone == 0 && (lists->nany > 0 ? lists->nall == 0 : lists->nall == 1);

	if (!alone)
		condition = -1;
	if (lists->nany > 0)
	{
		list_globs(&build->list, dimension, lists->globs, lists->nany, condition);
		visit(build);
	}
	for (int i = 0; i < lists->nall; i++)
	{
		list_globs(&build->list, dimension, &lists->globs[lists->nany + i], 1, condition);
		visit(build);
	}
}

/* Visits every condition of a rule that needs a value to be there. */
static void
visit_conditions(IndexBuild *build, const CompiledRule *rule, ListVisitor visit)
{
	static const Glob anything = {.shape = GLOB_ANY};
	static const GlobLists present = {(Glob *) &anything, 1, 0, 0};

	for (int i = 0; i < rule->match.nconditions; i++)
	{
		const CompiledCondition *condition = &rule->match.conditions[i];

		visit_lists(build, condition->field, &condition->lists, i, visit);
	}
	for (int i = 0; i < rule->match.nlabels; i++)
	{
		const CompiledLabel *label = &rule->match.labels[i];
		int			dimension = label_dimension(build->index, label->name, label->len);

		visit_lists(build, dimension, label->present ? &present : &label->lists, -1, visit);
	}
}

static void
count_list(IndexBuild *build)
{
	for (int i = 0; i < build->list.count; i++)
	{
		const RuleKey *key = &build->list.keys[i];
		DimensionUse *use = &build->uses[key->dimension];

		key_table_enter(&build->counted, key);
		if (key->prefix)
			use->prefixes++;
		else
			use->values++;
	}
}

/*
 * How likely a job is to meet one of the keys: values that many rules name are
 * taken to be as common among jobs.  An empty prefix is met by any value.
 */
static double
list_cost(const IndexBuild *build)
{
	double		cost = 0;

	for (int i = 0; i < build->list.count; i++)
	{
		const RuleKey *key = &build->list.keys[i];
		const DimensionUse *use = &build->uses[key->dimension];
		double		share = key_table_find(&build->counted, key)->count;

		if (key->len == 0)
			return 1;
		share /= key->prefix ? use->prefixes : use->values;
		if (key->dimension >= POLICY_FIRST_SET && key->dimension < POLICY_NFIELDS)
			share *= SET_SIZE;
		cost += share;
	}
	return cost;
}

static void
keep_cheapest(IndexBuild *build)
{
	KeyList		list = build->list;
	double		cost = list_cost(build);

	if (build->best.count > 0 && build->best_cost <= cost)
		return;
	build->list = build->best;
	build->best = list;
	build->best_cost = cost;
}

static void
choose_keys(IndexBuild *build, CompiledRule *rule, int position)
{
	build->best.count = 0;
	visit_conditions(build, rule, keep_cheapest);
	rule->proven = build->best.count == 0 ? -1 : build->best.proves;
	if (build->best.count == 0)
		build->index->always[build->index->nalways++] = position;
	if (build->nchosen + build->best.count > build->capacity)
	{
		build->capacity = (build->nchosen + build->best.count) * 2;
		build->chosen = build->chosen == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ChosenKey) * build->capacity) :
			repalloc_huge(build->chosen, sizeof(ChosenKey) * build->capacity);
	}
	for (int i = 0; i < build->best.count; i++)
	{
		build->chosen[build->nchosen].key = build->best.keys[i];
		build->chosen[build->nchosen].rule = position;
		build->nchosen++;
	}
}

/* Gives every label name that a condition looks at a dimension of its own. */
static void
number_labels(RuleIndex *index, const CompiledRule *rules)
{
	int64		total = 0;

	for (int i = 0; i < index->nrules; i++)
		total += rules[i].match.nlabels;
	key_table_init(&index->labels, total);
	index->ndimensions = POLICY_NFIELDS;
	for (int i = 0; i < index->nrules; i++)
	{
		for (int j = 0; j < rules[i].match.nlabels; j++)
		{
			const CompiledLabel *label = &rules[i].match.labels[j];
			RuleKey		key = key_make(0, label->name, label->len, false);
			KeySlot    *slot = key_table_enter(&index->labels, &key);

			if (slot->count == 1)
				slot->first = index->ndimensions++;
		}
	}
}

static int64
count_patterns(const CompiledRule *rule)
{
	int64		total = 0;

	for (int i = 0; i < rule->match.nconditions; i++)
		total += rule->match.conditions[i].lists.nany + rule->match.conditions[i].lists.nall;
	for (int i = 0; i < rule->match.nlabels; i++)
		total += 1 + rule->match.labels[i].lists.nany + rule->match.labels[i].lists.nall;
	return total;
}

/*
 * Enters the rules that are certain, or those that are not.  A key's `first` counts
 * up meanwhile.
 */
static void
enter_postings(RuleIndex *index, const ChosenKey *chosen, int nchosen, bool certain)
{
	for (int i = 0; i < nchosen; i++)
	{
		KeySlot    *slot;

		if (compiled_rule_is_certain(&index->rules[chosen[i].rule]) != certain)
			continue;
		slot = key_table_find(&index->keys, &chosen[i].key);
		if (slot->count > 1)
			index->postings[slot->first++] = chosen[i].rule;
		else
			slot->first = chosen[i].rule;
		slot->open += certain ? 0 : 1;
	}
}

/*
 * Files the rules under the keys that were chosen for them: of each key, those first
 * that may not apply.
 */
static void
fill_postings(RuleIndex *index, const ChosenKey *chosen, int nchosen)
{
	int			next = 0;

	key_table_init(&index->keys, nchosen);
	for (int i = 0; i < nchosen; i++)
		key_table_enter(&index->keys, &chosen[i].key);
	for (uint32 i = 0; i <= index->keys.mask; i++)
	{
		KeySlot    *slot = &index->keys.slots[i];

		slot->first = next;
		next += slot->count > 1 ? slot->count : 0;
	}
	index->postings = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int) * Max(next, 1));
	enter_postings(index, chosen, nchosen, false);
	enter_postings(index, chosen, nchosen, true);
	for (uint32 i = 0; i <= index->keys.mask; i++)
	{
		KeySlot    *slot = &index->keys.slots[i];

		slot->first -= slot->count > 1 ? slot->count : 0;
	}
}

static int
compare_lengths(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/* Sorts a dimension's lengths, and leaves each once. */
static void
unite_lengths(Dimension *dimension)
{
	int			unique = 0;

	qsort(dimension->lengths, dimension->nlengths, sizeof(int), compare_lengths);
	for (int i = 0; i < dimension->nlengths; i++)
	{
		if (unique == 0 || dimension->lengths[unique - 1] != dimension->lengths[i])
			dimension->lengths[unique++] = dimension->lengths[i];
	}
	dimension->nlengths = unique;
}

/* What each dimension's keys are; the lists of lengths are made in scratch first. */
static void
describe_dimensions(RuleIndex *index, MemoryContext scratch)
{
	Dimension  *all = palloc0(sizeof(Dimension) * index->ndimensions);

	index->dimensions = all;
	for (uint32 slot = 0; slot <= index->keys.mask; slot++)
	{
		const KeySlot *key = &index->keys.slots[slot];

		if (index->keys.tags[slot] != 0 && key->prefix)
			all[key->dimension].nlengths++;
		else if (index->keys.tags[slot] != 0)
			all[key->dimension].nvalues++;
	}
	for (int i = 0; i < index->ndimensions; i++)
	{
		all[i].lengths = MemoryContextAllocHuge(scratch, sizeof(int) * Max(all[i].nlengths, 1));
		all[i].nlengths = 0;
	}
	for (uint32 slot = 0; slot <= index->keys.mask; slot++)
	{
		const KeySlot *key = &index->keys.slots[slot];

		if (index->keys.tags[slot] != 0 && key->prefix)
			all[key->dimension].lengths[all[key->dimension].nlengths++] = key->len;
	}
	for (int i = 0; i < index->ndimensions; i++)
	{
		unite_lengths(&all[i]);
		all[i].lengths = memcpy(palloc(sizeof(int) * Max(all[i].nlengths, 1)), all[i].lengths,
								sizeof(int) * all[i].nlengths);
	}
}

RuleIndex *
rule_index_make(CompiledRule *rules, uint8 *briefs, int nrules)
{
	RuleIndex  *index = palloc0(sizeof(RuleIndex));

	index->rules = rules;
	index->briefs = briefs;
	index->nrules = nrules;
	index->context = CurrentMemoryContext;
	return index;
}

/* In the current memory context, as everything that the index keeps. */
static void
build_tables(RuleIndex *index)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(context, "rule index build",
												  ALLOCSET_DEFAULT_SIZES);
	IndexBuild	build = {.index = index};
	int64		patterns = 0;

	number_labels(index, index->rules);

	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < index->nrules; i++)
		patterns += count_patterns(&index->rules[i]);
	key_table_init(&build.counted, patterns);
	index->nalways = 0;
	index->always = palloc(sizeof(int) * Max(index->nrules, 1));
	build.uses = palloc0(sizeof(DimensionUse) * index->ndimensions);
	for (int i = 0; i < index->nrules; i++)
		visit_conditions(&build, &index->rules[i], count_list);
	for (int i = 0; i < index->nrules; i++)
		choose_keys(&build, &index->rules[i], i);

	MemoryContextSwitchTo(context);
	index->always = memcpy(palloc(sizeof(int) * Max(index->nalways, 1)), index->always,
						   sizeof(int) * index->nalways);
	fill_postings(index, build.chosen, build.nchosen);
	describe_dimensions(index, scratch);
	MemoryContextDelete(scratch);
}

/*
 * An error leaves it begun, to be built anew: no job goes without it any more, for
 * the rules are then marked as having been found by it.
 */
static void
build(RuleIndex *index)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "rule index",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	index->begun = true;
	build_tables(index);
	for (int i = 0; i < index->nrules; i++)
	{
		if (compiled_rule_is_certain(&index->rules[i]))
			index->briefs[i] |= RULE_CERTAIN;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, index->context);
	index->built = true;
}

static void
init_found(FoundRules *found, const RuleIndex *index)
{
	found->index = index;
	found->nkeys = 0;
	found->runs = found->few;
	found->nruns = 0;
	found->capacity = FEW_RUNS;
	found->total = 0;
	found->open = 0;
	found->every = false;
}

static void
add_run(FoundRules *found, const int *rules, int count, int open)
{
	if (count == 0)
		return;
	if (found->nruns == found->capacity)
	{
		RuleRun    *more = palloc(sizeof(RuleRun) * found->capacity * 2);

		memcpy(more, found->runs, sizeof(RuleRun) * found->nruns);
		found->runs = more;
		found->capacity *= 2;
	}
	found->runs[found->nruns].rules = rules;
	found->runs[found->nruns].count = count;
	found->runs[found->nruns].open = open;
	found->nruns++;
	found->total += count;
	found->open += open;
}

/* Looks up the keys that have come together. */
static void
meet_keys(FoundRules *found)
{
	const RuleIndex *index = found->index;

	for (int i = 0; i < found->nkeys; i++)
	{
		const KeySlot *met = key_table_search(&index->keys, &found->keys[i]);

		if (met != NULL && met->count == 1)
		{
			policy_prefetch(&index->rules[met->first], sizeof(CompiledRule));
			add_run(found, &met->first, 1, met->open);
		}
		else if (met != NULL)
			add_run(found, index->postings + met->first, met->count, met->open);
	}
	found->nkeys = 0;
}

static inline void
add_key(FoundRules *found, int dimension, const JobString *value, int len, bool prefix,
		KeyHash *state)
{
	const KeyTable *table = &found->index->keys;
	uint32		hash = key_hash(state, value->data, len, dimension, prefix);
	RuleKey    *key;

	if (!key_table_may_have(table, hash))
		return;
	if (found->nkeys == FEW_KEYS)
		meet_keys(found);
	key = &found->keys[found->nkeys++];
	key->dimension = dimension;
	key->bytes = value->data;
	key->len = len;
	key->prefix = prefix;
	key->hash = hash;
	policy_prefetch(&table->tags[hash & table->mask], 1);
	policy_prefetch(&table->slots[hash & table->mask], sizeof(KeySlot));
}

/* Looks up a value, and those of its prefixes whose lengths there are keys of. */
static void
find_value(FoundRules *found, int number, const JobString *value)
{
	const Dimension *dimension = &found->index->dimensions[number];
	KeyHash		hash = {0};

	for (int i = 0; i < dimension->nlengths && dimension->lengths[i] <= value->len; i++)
		add_key(found, number, value, dimension->lengths[i], true, &hash);
	if (dimension->nvalues > 0)
		add_key(found, number, value, value->len, false, &hash);
}

static void
find_runs(FoundRules *found, const Job *job)
{
	const RuleIndex *index = found->index;

	add_run(found, index->always, index->nalways, index->nalways);
	for (int field = 0; field < POLICY_FIRST_SET; field++)
	{
		if (job->fields[field].data != NULL)
			find_value(found, field, &job->fields[field]);
	}
	for (int set = 0; set < POLICY_NSETS; set++)
	{
		for (int i = 0; i < job->sets[set].count; i++)
			find_value(found, POLICY_FIRST_SET + set, &job->sets[set].items[i]);
	}
	if (index->ndimensions == POLICY_NFIELDS)
		return;
	for (int i = 0; i < job->nlabels; i++)
	{
		const JobLabel *label = &job->labels[i];
		int			dimension = label_dimension(index, label->name.data, label->name.len);

		if (dimension >= 0)
			find_value(found, dimension, &label->value);
	}
}

/* Few rules: sorted by insertion, each kept once. */
static int
sort_few(const FoundRules *found, int *rules)
{
	int			count = 0;

	for (int run = 0; run < found->nruns; run++)
	{
		for (int i = 0; i < found->runs[run].count; i++)
		{
			int			rule = found->runs[run].rules[i];
			int			at = count;

			while (at > 0 && rules[at - 1] > rule)
				at--;
			if (at > 0 && rules[at - 1] == rule)
				continue;
			memmove(&rules[at + 1], &rules[at], sizeof(int) * (count - at));
			rules[at] = rule;
			count++;
		}
	}
	return count;
}

/* Many: a bit a rule, then read off in order. */
static int
sort_many(const FoundRules *found, int nrules, int *rules)
{
	int			nwords = (nrules + 63) / 64;
	uint64	   *bits = palloc0(sizeof(uint64) * nwords);
	int			count = 0;

	for (int run = 0; run < found->nruns; run++)
	{
		for (int i = 0; i < found->runs[run].count; i++)
		{
			int			rule = found->runs[run].rules[i];

			bits[rule / 64] |= UINT64CONST(1) << (rule % 64);
		}
	}
	for (int word = 0; word < nwords; word++)
	{
		for (uint64 left = bits[word]; left != 0; left &= left - 1)
			rules[count++] = word * 64 + pg_rightmost_one_pos64(left);
	}
	return count;
}

#define FEW_RULES 32

void
rule_index_meet(RuleIndex *index, const Job *job, FoundRules *found)
{
	if (!index->built)
		build(index);
	init_found(found, index);
	find_runs(found, job);
	meet_keys(found);
}

void
rule_index_meet_sparing(RuleIndex *index, const Job *job, FoundRules *found)
{
	if (index->begun || index->spared)
	{
		rule_index_meet(index, job, found);
		return;
	}
	init_found(found, index);
	found->total = index->nrules;
	found->open = index->nrules;
	found->every = true;
	index->spared = true;
}

static int *
every_rule(const RuleIndex *index, int *count)
{
	int		   *rules = palloc(sizeof(int) * (index->nrules + 1));

	if (index->begun)
		elog(ERROR, "rules that were met without an index are read with it");
	for (int i = 0; i < index->nrules; i++)
		rules[i] = i;
	*count = index->nrules;
	return rules;
}

int *
rule_index_all(const FoundRules *found, int *count)
{
	int			nrules = found->index->nrules;
	int		   *rules;

	if (found->every)
		return every_rule(found->index, count);
	rules = palloc(sizeof(int) * (Min(found->total, nrules) + 1));
	*count = found->total <= FEW_RULES ? sort_few(found, rules) :
		sort_many(found, nrules, rules);
	return rules;
}

int *
rule_index_open(const FoundRules *found, int *count)
{
	FoundRules	open;

	if (found->every)
		return every_rule(found->index, count);
	init_found(&open, found->index);
	for (int i = 0; i < found->nruns; i++)
		add_run(&open, found->runs[i].rules, found->runs[i].open, found->runs[i].open);
	return rule_index_all(&open, count);
}
