/*
 * diff_example.c
 *	  Jobs that show what a change does, decided by both policies before they are
 *	  told.
 *
 * Jobs are made from the matches of the changed rules and of those beside them
 * (engine/witness.h), with something where a `when` reads the payload.  One that goes the way that was proven impossible takes the claim
 * back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "replay/compare.h"
#include "replay/diff.h"

/* What of an example, and of its bounds, is shown, in characters. */
#define MAX_JOB_CHARS 300
#define MAX_BOUNDS_CHARS 200

/* How many rules beside the changed one are looked at. */
#define MAX_BESIDE 64
#define MAX_SHAPES (2 * MAX_BESIDE + 4)
#define MAX_TIMES 8

/* How deep in a job something is put for a `when` to read. */
#define MAX_DEPTH 8

/* What a decision, and the compilation of a rule, cost, as PolicyWork counts. */
#define STEPS_OF_DECISION 2000
#define STEPS_OF_COMPILATION 200

typedef struct ExampleSearch
{
	Diff	   *diff;
	const DiffChange *change;
	CompiledPolicy *alone;		/* the first policy with the change */
	TimestampTz times[MAX_TIMES];
	int			ntimes;
	DiffDirection possible;		/* as was proven */
	DiffDirection seen;			/* what the jobs did */
	const char *loosened;		/* the first that went so, in words */
	const char *tightened;
} ExampleSearch;

/* What a job has to be. */
typedef struct Asked
{
	const PolicyShape *inside[MAX_SHAPES];
	const PolicyShape *outside[MAX_SHAPES];
	int			ninside;
	int			noutside;
} Asked;

/* ---- the first policy with the change ---- */

/* The place in the first policy after which a rule of the second belongs, or -1. */
static int
place_before(const Diff *diff, const DiffRule *rule)
{
	for (const DiffRule *earlier = rule - 1; earlier >= diff->to.rules; earlier--)
	{
		if (earlier->other != NULL && !earlier->moved)
			return earlier->other->lint.index;
	}
	return -1;
}

/*
 * Copies the rules but one, if any, with another, if any, in its place, or where that
 * belongs.
 */
static void
change_rules(const Diff *diff, const DiffChange *change, Policy *policy)
{
	const Policy *from = diff->from.policy;
	const DiffRule *added = change->to;
	int			left_out = change->from != NULL ? change->from->lint.index : -1;
	int			after = -1;
	int			count = 0;

	if (change->kind == DIFF_MOVED)
	{
		after = place_before(diff, change->to);
		added = change->from;
	}
	else if (change->from != NULL)
		after = left_out;
	else if (change->to != NULL)
		after = place_before(diff, change->to);
	policy->rules = MemoryContextAllocHuge(CurrentMemoryContext,
										   sizeof(PolicyRule) * (from->nrules + 1));
	for (int i = -1; i < from->nrules; i++)
	{
		if (i >= 0 && i != left_out)
			policy->rules[count++] = from->rules[i];
		if (i == after && added != NULL)
			policy->rules[count++] = *added->lint.rule;
	}
	policy->nrules = count;
}

static CompiledPolicy *
compile_alone(const Diff *diff, const DiffChange *change)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	const Policy *to = diff->to.policy;
	PolicyBudget no_limit = {0};
	Policy		policy = *diff->from.policy;

	switch (change->kind)
	{
		case DIFF_RULE:
		case DIFF_MOVED:
			change_rules(diff, change, &policy);
			break;
		case DIFF_COMBINE:
			policy.first_match = to->first_match;
			break;
		case DIFF_DEFAULTS:
			policy.default_decision = to->default_decision;
			policy.default_reason = to->default_reason;
			policy.default_constraints = to->default_constraints;
			break;
		case DIFF_MASKS:
			policy.masks = to->masks;
			break;
	}
	return policy_compile(&policy, NULL, no_digest, CurrentMemoryContext, &no_limit);
}

/* ---- the times ---- */

static void
add_time(ExampleSearch *search, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at < search->diff->now || search->ntimes == MAX_TIMES)
		return;
	for (int i = 0; i < search->ntimes; i++)
	{
		if (search->times[i] == at)
			return;
	}
	search->times[search->ntimes++] = at;
}

static void
add_rule_times(ExampleSearch *search, const DiffRule *rule)
{
	if (rule == NULL)
		return;
	add_time(search, rule->lint.begins);
	add_time(search, rule->lint.rule->expires_at);
	for (int i = 0; i < rule->lint.rule->nexceptions; i++)
		add_time(search, rule->lint.rule->exceptions[i].expires_at);
}

/* ---- one job ---- */

static char *
bounds_words(const PolicyVerdict *verdict)
{
	char	   *json = JsonbToCString(NULL, &verdict->constraints->root, VARSIZE(verdict->constraints));

	return policy_shown(json, strlen(json), MAX_BOUNDS_CHARS);
}

/* From which verdict to which. */
static void
append_verdicts(StringInfo out, const PolicyVerdict *from, const PolicyVerdict *to)
{
	const char *was = policy_decision_labels[from->decision];

	if (from->decision != to->decision)
		appendStringInfo(out, "%s -> %s", was, policy_decision_labels[to->decision]);
	else if (strcmp(bounds_words(from), bounds_words(to)) != 0)
		appendStringInfo(out, "%s %s -> %s", was, bounds_words(from), bounds_words(to));
	else
		appendStringInfo(out, "%s as before, on other terms", was);
}

/* The job as it was made, in an order that reads well, unless more was put into it. */
static char *
job_text(const PolicyExample *example, const Job *job)
{
	return example != NULL ? policy_example_text(example) :
		JsonbToCString(NULL, &job->source->root, VARSIZE(job->source));
}

static char *
example_words(const ExampleSearch *search, const PolicyExample *example, Job *job, TimestampTz at,
			  const PolicyVerdict *from, const PolicyVerdict *alone)
{
	static const int utc = 0;
	char		time[MAXDATELEN + 1];
	char	   *text = job_text(example, job);
	PolicyBudget no_limit = {0};
	PolicyVerdict all;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, policy_shown(text, strlen(text), MAX_JOB_CHARS));
	if (at != search->diff->now)
		appendStringInfo(&out, " at %s", JsonEncodeDateTime(time, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc));
	appendStringInfoString(&out, ": ");
	append_verdicts(&out, from, alone);
	policy_decide(search->diff->to.compiled, job, at, NULL, NULL, &no_limit, &all);
	if (all.decision != alone->decision)
		appendStringInfo(&out, " (with all changes %s)", policy_decision_labels[all.decision]);
	return out.data;
}

static void
try_job_at(ExampleSearch *search, const PolicyExample *example, Job *job, TimestampTz at)
{
	PolicyBudget no_limit = {0};
	PolicyVerdict from;
	PolicyVerdict to;
	ComparedVerdict was = {search->diff->from.compiled, &from};
	ComparedVerdict is = {search->alone, &to};
	DiffDirection seen = DIFF_SAME;
	int			why;

	search->diff->search.work.left -= STEPS_OF_DECISION;
	policy_decide(was.policy, job, at, NULL, NULL, &no_limit, &from);
	policy_decide(is.policy, job, at, NULL, NULL, &no_limit, &to);
	if (policy_compare(&was, &is, job, at, &why) == POLICY_LOOSENED)
		seen |= DIFF_LOOSENS;
	if (policy_compare(&is, &was, job, at, &why) == POLICY_LOOSENED)
		seen |= DIFF_TIGHTENS;
	search->seen |= seen;
	if (seen == DIFF_LOOSENS && search->loosened == NULL)
		search->loosened = example_words(search, example, job, at, &from, &to);
	if (seen == DIFF_TIGHTENS && search->tightened == NULL)
		search->tightened = example_words(search, example, job, at, &from, &to);
}

static bool
is_done(const ExampleSearch *search)
{
	return search->diff->search.work.left < 0 ||
		(((search->possible & DIFF_LOOSENS) == 0 || search->loosened != NULL) &&
		 ((search->possible & DIFF_TIGHTENS) == 0 || search->tightened != NULL));
}

/* Decides a job at each of the times; example is NULL where the job has more. */
static void
try_job(ExampleSearch *search, const PolicyExample *example, Jsonb *source)
{
	Job			job;

	policy_job_read(source, &job);
	for (int i = 0; i < search->ntimes && job.invalid == NULL && !is_done(search); i++)
		try_job_at(search, example, &job, search->times[i]);
}

/* ---- what a `when` reads ---- */

static Jsonb *
set_place(Jsonb *job, Datum *keys, int nkeys, Jsonb *value)
{
	ArrayType  *path = construct_array(keys, nkeys, TEXTOID, -1, false, TYPALIGN_INT);

	return DatumGetJsonbP(DirectFunctionCall4(jsonb_set, JsonbPGetDatum(job), PointerGetDatum(path),
											  JsonbPGetDatum(value), BoolGetDatum(true)));
}

/* Whether a place is one of the payload's that keys alone lead to. */
static bool
is_settable(const PolicyPath *path)
{
	if (path->nsteps < 2 || path->nsteps > MAX_DEPTH || path->steps[0].keylen != 7 ||
		memcmp(path->steps[0].key, "payload", 7) != 0)
		return false;
	for (int i = 0; i < path->nsteps; i++)
	{
		if (path->steps[i].kind != POLICY_STEP_KEY)
			return false;
	}
	return true;
}

static Jsonb *
set_steps(Jsonb *job, const PolicyPath *path, int nsteps, Jsonb *value)
{
	Datum		keys[MAX_DEPTH];

	for (int i = 0; i < nsteps; i++)
		keys[i] = PointerGetDatum(cstring_to_text_with_len(path->steps[i].key, path->steps[i].keylen));
	return set_place(job, keys, nsteps, value);
}

/* A job, of no payload, with a value at each place that a `when` reads; NULL: none is. */
static Jsonb *
with_reads(const PolicyPathList *reads, Jsonb *job, const char *text)
{
	Jsonb	   *value = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	Jsonb	   *object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	Jsonb	   *result = job;

	/* From the outside in: what leads to a place is there before it. */
	for (int depth = 1; depth <= MAX_DEPTH; depth++)
	{
		for (int i = 0; i < reads->count; i++)
		{
			const PolicyPath *path = &reads->items[i];

			if (path->nsteps >= depth && is_settable(path))
				result = set_steps(result, path, depth, path->nsteps == depth ? value : object);
		}
	}
	return result != job ? result : NULL;
}

/*
 * Tries the job that was asked for, if there is one, and that with what makes `when`s
 * true or false that would be unknown.
 */
static void
try_asked(ExampleSearch *search, const Asked *asked)
{
	static const char *const values[] = {"0", "1000000000", "true", "\"x\""};
	PolicyExample *example;
	Jsonb	   *job;

	if (is_done(search) ||
		policy_find_job(asked->inside, asked->ninside, asked->outside, asked->noutside,
						&search->diff->search.work, &example) != POLICY_FOUND)
		return;
	job = policy_example_job(example);
	try_job(search, example, job);
	for (int i = 0; i < (int) lengthof(values) && !is_done(search); i++)
	{
		Jsonb	   *more = with_reads(&search->diff->reads, job, values[i]);

		if (more == NULL)
			return;
		try_job(search, NULL, more);
	}
}

/* ---- which jobs ---- */

static void
add_inside(Asked *asked, const PolicyShape *shape)
{
	if (asked->ninside < MAX_SHAPES)
		asked->inside[asked->ninside++] = shape;
}

static void
add_outside(Asked *asked, const PolicyShape *shape)
{
	if (asked->noutside < MAX_SHAPES)
		asked->outside[asked->noutside++] = shape;
}

static void
add_exceptions_outside(Asked *asked, const DiffRule *rule)
{
	for (int i = 0; rule != NULL && i < rule->lint.rule->nexceptions; i++)
	{
		if (rule->lint.exceptions[i] != NULL)
			add_outside(asked, rule->lint.exceptions[i]);
	}
}

/* Asks to be outside of other rules of the first policy, the stricter ones or all. */
static void
add_others_outside(const ExampleSearch *search, Asked *asked, PolicyDecision least,
				   const DiffRule *but)
{
	const DiffSide *side = &search->diff->from;

	for (int i = 0; i < side->policy->nrules && asked->noutside < MAX_BESIDE; i++)
	{
		const DiffRule *rule = &side->rules[i];

		if (rule != search->change->from && rule != but && rule->enforces &&
			rule->lint.rule->decision >= least)
			add_outside(asked, rule->lint.shape);
	}
}

/* The jobs that were asked for: as they are, beside no other rule, and beside each. */
static void
try_beside(ExampleSearch *search, const Asked *asked)
{
	const DiffSide *side = &search->diff->from;
	Asked		narrower = *asked;

	try_asked(search, asked);
	add_others_outside(search, &narrower, POLICY_DENY, NULL);
	try_asked(search, &narrower);
	narrower = *asked;
	add_others_outside(search, &narrower, POLICY_ALLOW, NULL);
	try_asked(search, &narrower);
	for (int i = 0; i < Min(side->policy->nrules, MAX_BESIDE) && !is_done(search); i++)
	{
		const DiffRule *rule = &side->rules[i];

		if (rule == search->change->from || !rule->enforces)
			continue;
		narrower = *asked;
		add_inside(&narrower, rule->lint.shape);
		add_exceptions_outside(&narrower, rule);
		add_others_outside(search, &narrower, rule->lint.rule->decision + 1, rule);
		try_asked(search, &narrower);
	}
}

/* Jobs inside of one rule, and not of other where that is given. */
static void
try_rule(ExampleSearch *search, const DiffRule *rule, const DiffRule *other)
{
	Asked		asked = {.ninside = 0};

	if (rule == NULL)
		return;
	add_inside(&asked, rule->lint.shape);
	add_exceptions_outside(&asked, rule);
	if (other != NULL)
		add_outside(&asked, other->lint.shape);
	try_beside(search, &asked);
}

/* Jobs that one rule's exceptions spare. */
static void
try_exceptions(ExampleSearch *search, const DiffRule *rule, const DiffRule *other)
{
	for (int i = 0; rule != NULL && other != NULL && i < rule->lint.rule->nexceptions; i++)
	{
		Asked		asked = {.ninside = 0};

		if (rule->lint.exceptions[i] == NULL)
			continue;
		add_inside(&asked, rule->lint.shape);
		add_inside(&asked, rule->lint.exceptions[i]);
		add_exceptions_outside(&asked, other);
		try_beside(search, &asked);
	}
}

/* Jobs of the document's own parts: of no rule, of each, and of each two. */
static void
try_document(ExampleSearch *search)
{
	const DiffSide *side = &search->diff->from;
	Asked		asked = {.ninside = 0};

	add_others_outside(search, &asked, POLICY_ALLOW, NULL);
	try_asked(search, &asked);
	for (int i = 0; i < Min(side->policy->nrules, MAX_BESIDE) && !is_done(search); i++)
		try_rule(search, &side->rules[i], NULL);
}

static void
find_examples(ExampleSearch *search)
{
	const DiffChange *change = search->change;

	add_time(search, search->diff->now);
	add_rule_times(search, change->from);
	add_rule_times(search, change->to);
	if (change->kind != DIFF_RULE && change->kind != DIFF_MOVED)
	{
		try_document(search);
		return;
	}
	if (change->from != NULL && change->to != NULL && change->kind == DIFF_RULE)
	{
		try_rule(search, change->to, change->from);
		try_rule(search, change->from, change->to);
	}
	try_exceptions(search, change->to, change->from);
	try_exceptions(search, change->from, change->to);
	try_rule(search, change->to, NULL);
	try_rule(search, change->from, NULL);
}

/* ---- in words ---- */

void
diff_append_direction(StringInfo out, Diff *diff, const DiffChange *change)
{
	ExampleSearch search = {.diff = diff, .change = change};

	search.possible = diff_direction(diff, change);
	if (search.possible == DIFF_SAME)
	{
		appendStringInfoString(out, "decides as before");
		return;
	}
	diff->search.work.left -= (int64) STEPS_OF_COMPILATION * diff->from.policy->nrules;
	if (diff->search.work.left >= 0)
	{
		search.alone = compile_alone(diff, change);
		find_examples(&search);
	}
	search.possible |= search.seen;
	appendStringInfoString(out, search.possible == DIFF_LOOSENS ? "only loosens" :
						   search.possible == DIFF_TIGHTENS ? "only tightens" : "may loosen and tighten");
	if (search.loosened != NULL)
		appendStringInfo(out, "; looser: %s", search.loosened);
	if (search.tightened != NULL)
		appendStringInfo(out, "; tighter: %s", search.tightened);
}
