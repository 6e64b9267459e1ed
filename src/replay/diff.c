/*
 * diff.c
 *	  What differs between two policies, by meaning: which rules are which, and what
 *	  rows that makes.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "language/name_table.h"
#include "replay/diff.h"

/* A bound on all the searches of one comparison, in steps: some seconds. */
#define DIFF_STEPS INT64CONST(1000000000)

/* Of so many places that `when`s read is something put into examples. */
#define MAX_READS 32

/* What it costs to look whether two rules mean the same under two ids. */
#define STEPS_OF_RENAMING 2000

/* ---- the two sides ---- */

/* Keeps what a `when` reads, for examples to have something there. */
static void
keep_reads(Diff *diff, const PolicyMatch *match)
{
	PolicyPathList reads = {0};
	PolicyPathList nulls = {0};
	PolicyDiagnostics ignored;
	bool		lax;

	policy_diagnostics_init(&ignored);
	policy_predicate_parse(match->when, (int) strlen(match->when), match->when_mark, &lax, &reads,
						   &nulls, &ignored);
	for (int i = 0; i < reads.count && diff->reads.count < MAX_READS; i++)
	{
		if (!diff_has_path(&diff->reads, &reads.items[i]))
			diff->reads.items[diff->reads.count++] = reads.items[i];
	}
}

/* As jsonpath prints it, so that one path has one text. */
static void
rewrite_when(Diff *diff, PolicyMatch *match)
{
	Datum		path;

	if (match->when == NULL)
		return;
	if (diff->reads.count < MAX_READS)
		keep_reads(diff, match);
	path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(match->when));
	match->when = DatumGetCString(DirectFunctionCall1(jsonpath_out, path));
}

static void
prepare_rule(Diff *diff, PolicyRule *rule, int index, DiffRule *prepared)
{
	LintRule   *lint = &prepared->lint;

	rewrite_when(diff, &rule->match);
	lint->rule = rule;
	lint->index = index;
	lint->shape = policy_shape(diff->search.shapes, &rule->match);
	lint->exceptions = palloc0(sizeof(PolicyShape *) * Max(rule->nexceptions, 1));
	for (int i = 0; i < rule->nexceptions; i++)
	{
		rewrite_when(diff, &rule->exceptions[i].match);
		if (rule->exceptions[i].expires_at > diff->now)
			lint->exceptions[i] = policy_shape(diff->search.shapes, &rule->exceptions[i].match);
	}
	lint->begins = Max(rule->not_before, diff->now);
	lint->live = rule->enabled && lint->begins < rule->expires_at;
	diff_judge_rule(prepared);
}

static void
prepare_side(Diff *diff, Policy *policy, DiffSide *side)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	PolicyBudget no_limit = {0};
	Size		size = sizeof(DiffRule) * Max(policy->nrules, 1);

	side->policy = policy;
	side->rules = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(side->rules, 0, size);
	for (int i = 0; i < policy->nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		prepare_rule(diff, &policy->rules[i], i, &side->rules[i]);
	}
	side->compiled = policy_compile(policy, NULL, no_digest, CurrentMemoryContext, &no_limit);
}

/* ---- which rule is which ---- */

static void
pair(DiffRule *from, DiffRule *to)
{
	from->other = to;
	to->other = from;
}

static void
pair_by_id(Diff *diff)
{
	PolicyNameTable rules;

	policy_name_table_init(&rules, (uint64) diff->now);
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const char *id = diff->from.rules[i].lint.rule->id;

		policy_name_table_put(&rules, id, (int) strlen(id), &diff->from.rules[i]);
	}
	for (int i = 0; i < diff->to.policy->nrules; i++)
	{
		const char *id = diff->to.rules[i].lint.rule->id;
		PolicyNameEntry *entry = policy_name_table_find(&rules, id, (int) strlen(id));

		if (entry != NULL)
			pair(entry->value, &diff->to.rules[i]);
	}
}

/* Whether two rules of different ids mean the same. */
static bool
is_renamed(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	MemoryContext caller;
	StringInfoData parts;
	bool		same;

	diff->search.work.left -= STEPS_OF_RENAMING;
	if (diff->search.work.left < 0 || from->lint.rule->decision != to->lint.rule->decision ||
		from->lint.rule->match.nlabels != to->lint.rule->match.nlabels)
		return false;
	caller = MemoryContextSwitchTo(diff->context);
	initStringInfo(&parts);
	diff_append_rule(&parts, diff, from, to);
	same = parts.len == 0;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(diff->context);
	return same;
}

static void
pair_renamed(Diff *diff)
{
	for (int i = 0; i < diff->to.policy->nrules; i++)
	{
		DiffRule   *to = &diff->to.rules[i];

		for (int j = 0; j < diff->from.policy->nrules && to->other == NULL; j++)
		{
			DiffRule   *from = &diff->from.rules[j];

			CHECK_FOR_INTERRUPTS();
			if (from->other != NULL || !is_renamed(diff, from, to))
				continue;
			pair(from, to);
			from->renamed = to->renamed = true;
		}
	}
}

/*
 * Marks those that are not in a longest run of rules that keep their order: tails
 * has, by length, the rule that ends a run of it and stands earliest in the first.
 */
static void
mark_moved(Diff *diff)
{
	int			count = diff->to.policy->nrules;
	int		   *tails = palloc(sizeof(int) * (count + 1));
	int		   *previous = palloc(sizeof(int) * (count + 1));
	int			longest = 0;

	for (int i = 0; i < count; i++)
	{
		DiffRule   *rule = &diff->to.rules[i];
		int			low = 0;
		int			high = longest;

		if (rule->other == NULL)
			continue;
		while (low < high)
		{
			int			middle = (low + high) / 2;

			if (diff->to.rules[tails[middle]].other->lint.index < rule->other->lint.index)
				low = middle + 1;
			else
				high = middle;
		}
		previous[i] = low > 0 ? tails[low - 1] : -1;
		tails[low] = i;
		longest = Max(longest, low + 1);
		rule->moved = rule->other->moved = true;
	}
	for (int i = longest > 0 ? tails[longest - 1] : -1; i >= 0; i = previous[i])
		diff->to.rules[i].moved = diff->to.rules[i].other->moved = false;
}

/* ---- rows ---- */

/* Puts a row whose parts, if there are any, the direction follows. */
static void
put_change(Diff *diff, const char *rule, const char *change, StringInfo parts,
		   const DiffChange *alone)
{
	appendStringInfoString(parts, "; ");
	diff_append_direction(parts, diff, alone);
	diff->put(diff, rule, change, parts->data);
}

static void
put_rule(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	DiffChange	change = {.kind = DIFF_RULE, .from = from, .to = to};
	StringInfoData parts;

	initStringInfo(&parts);
	diff_append_rule(&parts, diff, from, to);
	if (parts.len > 0)
		put_change(diff, to->lint.rule->id, from == NULL ? "added" : "changed", &parts, &change);
}

static void
put_removed(Diff *diff, const DiffRule *from)
{
	DiffChange	change = {.kind = DIFF_RULE, .from = from};
	StringInfoData parts;

	initStringInfo(&parts);
	appendStringInfo(&parts, "decision: no longer %s",
					 policy_decision_labels[from->lint.rule->decision]);
	put_change(diff, from->lint.rule->id, "removed", &parts, &change);
}

static void
put_renamed(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	diff->put(diff, to->lint.rule->id, "renamed",
			  psprintf("it was %s; decides as before%s", from->lint.rule->id,
					   from->lint.rule->velocity != NULL ? ", with counters that begin anew" : ""));
}

static void
put_moved(Diff *diff, const DiffRule *to)
{
	DiffChange	change = {.kind = DIFF_MOVED, .from = to->other, .to = to};
	const DiffRule *before = to - 1;
	StringInfoData parts;

	initStringInfo(&parts);
	while (before >= diff->to.rules && (before->other == NULL || before->moved))
		before--;
	if (before >= diff->to.rules)
		appendStringInfo(&parts, "it comes after %s", before->lint.rule->id);
	else
		appendStringInfoString(&parts, "it comes first of those that were there");
	put_change(diff, to->lint.rule->id, "moved", &parts, &change);
}

static void
put_to_rule(Diff *diff, const DiffRule *to)
{
	if (to->renamed)
		put_renamed(diff, to->other, to);
	else
		put_rule(diff, to->other, to);
	if (to->moved)
		put_moved(diff, to);
}

static void
put_combine(Diff *diff)
{
	DiffChange	change = {.kind = DIFF_COMBINE};
	StringInfoData parts;

	if (diff->from.policy->first_match == diff->to.policy->first_match)
		return;
	initStringInfo(&parts);
	appendStringInfoString(&parts, diff->to.policy->first_match ?
						   "combine: strictest -> first_match" : "combine: first_match -> strictest");
	put_change(diff, NULL, "combine", &parts, &change);
}

static void
put_defaults(Diff *diff)
{
	DiffChange	change = {.kind = DIFF_DEFAULTS};
	StringInfoData parts;

	initStringInfo(&parts);
	diff_append_defaults(&parts, diff->from.policy, diff->to.policy);
	if (parts.len > 0)
		put_change(diff, NULL, "defaults", &parts, &change);
}

static void
put_masks(Diff *diff)
{
	DiffChange	change = {.kind = DIFF_MASKS};
	StringInfoData parts;

	initStringInfo(&parts);
	diff_append_masks(&parts, &diff->from.policy->masks, &diff->to.policy->masks);
	if (parts.len > 0)
		put_change(diff, NULL, "evidence", &parts, &change);
}

static void
put_tests(Diff *diff)
{
	StringInfoData parts;

	initStringInfo(&parts);
	diff_append_tests(&parts, diff->from.policy, diff->to.policy);
	if (parts.len > 0)
		diff->put(diff, NULL, "tests", parts.data);
}

/* Runs what puts rows, in a context that is reset after each rule. */
static void
put_rows(Diff *diff)
{
	MemoryContext caller = MemoryContextSwitchTo(diff->context);

	put_combine(diff);
	put_defaults(diff);
	for (int i = 0; i < diff->to.policy->nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_to_rule(diff, &diff->to.rules[i]);
		MemoryContextReset(diff->context);
	}
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (diff->from.rules[i].other == NULL)
			put_removed(diff, &diff->from.rules[i]);
		MemoryContextReset(diff->context);
	}
	put_masks(diff);
	put_tests(diff);
	MemoryContextSwitchTo(caller);
}

void
policy_diff_report(Diff *diff, Policy *from, Policy *to, TimestampTz now)
{
	diff->now = now;
	diff->search.work.left = DIFF_STEPS;
	diff->search.shapes = policy_shapes_create((uint64) now);
	diff->reads.items = palloc(sizeof(PolicyPath) * MAX_READS);
	prepare_side(diff, from, &diff->from);
	prepare_side(diff, to, &diff->to);
	diff->context = AllocSetContextCreate(CurrentMemoryContext, "policy_diff row",
										  ALLOCSET_DEFAULT_SIZES);
	pair_by_id(diff);
	pair_renamed(diff);
	mark_moved(diff);
	put_rows(diff);
	MemoryContextDelete(diff->context);
}
