/*
 * replay.c
 *	  Jobs of the past under a candidate and under its base, one by one.
 *
 * A job is evaluated at its own time, at the present, and on both sides of each
 * validity boundary of those rules of either policy that it can match; the worst
 * moment counts.  Between two neighbouring boundaries nothing changes, so no moment is
 * left out.  Where nothing has a validity its own time is enough.
 *
 * Velocities are replayed too, where the jobs come in the order of their times: each
 * job is one attempt, under counters that both policies begin with empty, a window
 * before the first job.
 *
 * What cannot be known is not guessed: a job of which a mask has hidden something
 * that a rule could have read is not replayed.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/timestamp.h"

#include "engine/edit.h"
#include "engine/match.h"
#include "replay/replay.h"

const char *const replay_obstacle_names[REPLAY_OBSTACLES] = {
	"masked fact", "velocity without counters", "invalid job"
};

/* The moments at which a job is evaluated. */
typedef struct Moments
{
	TimestampTz *items;
	int			count;
	int			capacity;
} Moments;

static bool
rule_has_times(const CompiledRule *rule)
{
	return rule->not_before != DT_NOBEGIN || rule->expires_at != DT_NOEND ||
		rule->nexceptions > 0;
}

static bool
policy_has_times(const CompiledPolicy *policy)
{
	for (int i = 0; policy != NULL && i < policy->nrules; i++)
	{
		if (rule_has_times(&policy->rules[i]))
			return true;
	}
	return false;
}

typedef struct IdNumber
{
	const char *id;
	int			number;
} IdNumber;

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(((const IdNumber *) a)->id, ((const IdNumber *) b)->id);
}

/* The numbers of a policy's rules, by position; the base's ids, sorted, are known. */
static int *
number_rules(ReplayRules *rules, const CompiledPolicy *policy, const IdNumber *known, int nknown)
{
	int			nrules = policy != NULL ? policy->nrules : 0;
	int		   *numbers = palloc(sizeof(int) * Max(nrules, 1));

	for (int i = 0; i < nrules; i++)
	{
		IdNumber	key = {policy->rules[i].id, 0};
		const IdNumber *found = nknown == 0 ? NULL :
		bsearch(&key, known, nknown, sizeof(IdNumber), compare_ids);

		if (found == NULL)
			rules->ids[rules->count++] = key.id;
		numbers[policy->rules[i].position] = found != NULL ? found->number : rules->count - 1;
	}
	return numbers;
}

static void
begin_rules(ReplayRules *rules, const CompiledPolicy *base, const CompiledPolicy *candidate)
{
	int			nbase = base != NULL ? base->nrules : 0;
	int			most = 1 + nbase + candidate->nrules;
	IdNumber   *known = palloc(sizeof(IdNumber) * Max(nbase, 1));

	rules->ids = palloc(sizeof(char *) * most);
	rules->ids[rules->count++] = NULL;
	rules->base = number_rules(rules, base, NULL, 0);
	for (int i = 0; i < nbase; i++)
	{
		known[i].id = base->rules[i].id;
		known[i].number = rules->base[base->rules[i].position];
	}
	qsort(known, nbase, sizeof(IdNumber), compare_ids);
	rules->candidate = number_rules(rules, candidate, known, nbase);
	rules->seen = palloc0(sizeof(uint64) * most);
}

static void
add_moment(Moments *moments, TimestampTz at)
{
	if (moments->count == moments->capacity)
	{
		moments->capacity = Max(16, moments->capacity * 2);
		moments->items = moments->items == NULL ?
			palloc(sizeof(TimestampTz) * moments->capacity) :
			repalloc(moments->items, sizeof(TimestampTz) * moments->capacity);
	}
	moments->items[moments->count++] = at;
}

static int
compare_moments(const void *a, const void *b)
{
	TimestampTz left = *(const TimestampTz *) a;
	TimestampTz right = *(const TimestampTz *) b;

	return left < right ? -1 : left > right;
}

/* Leaves each once, in order, but for the first, which stays where it is. */
static void
sort_moments(Moments *moments)
{
	int			kept = 1;

	qsort(moments->items + 1, moments->count - 1, sizeof(TimestampTz), compare_moments);
	for (int i = 1; i < moments->count; i++)
	{
		if (moments->items[i] != moments->items[0] && moments->items[i] != moments->items[kept - 1])
			moments->items[kept++] = moments->items[i];
	}
	moments->count = kept;
}

static void
add_boundary(Moments *moments, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		return;
	add_moment(moments, at - 1);
	add_moment(moments, at);
}

/* The boundaries of the rules that the job can match, whatever the time. */
static void
add_boundaries(Moments *moments, const CompiledPolicy *policy, const Job *job)
{
	FoundRules	found;
	int		   *open;
	int			count;

	if (policy == NULL)
		return;
	rule_index_meet(policy->index, job, &found);
	open = rule_index_open(&found, &count);
	for (int i = 0; i < count; i++)
	{
		const CompiledRule *rule = &policy->rules[open[i]];

		add_boundary(moments, rule->not_before);
		add_boundary(moments, rule->expires_at);
		for (int j = 0; j < rule->nexceptions; j++)
			add_boundary(moments, rule->exceptions[j].expires_at);
	}
}

static Moments
moments_of(const Replay *replay, const ReplayedJob *replayed, const Job *job)
{
	Moments		moments = {0};

	add_moment(&moments, replayed->has_time ? replayed->time : replay->present);
	if (!replay->has_times)
		return moments;
	add_moment(&moments, replay->present);
	add_boundaries(&moments, replay->base, job);
	add_boundaries(&moments, replay->candidate, job);
	sort_moments(&moments);
	return moments;
}

/* Whether the `when` of a match reads one of the places, or above or below it. */
static bool
match_reads(const CompiledMatch *match, const PolicyPathList *places)
{
	const PolicyPathList *reads;

	if (!match->has_when)
		return false;
	reads = policy_predicate_reads(match->when);
	for (int i = 0; i < reads->count; i++)
	{
		for (int j = 0; j < places->count; j++)
		{
			if (policy_paths_overlap(&reads->items[i], &places->items[j]))
				return true;
		}
	}
	return false;
}

static bool
rule_reads(const CompiledRule *rule, const PolicyPathList *places)
{
	bool		reads = match_reads(&rule->match, places);

	for (int i = 0; i < rule->nexceptions && !reads; i++)
		reads = match_reads(&rule->exceptions[i].match, places);
	return reads;
}

static bool
rule_has_velocity(const CompiledRule *rule, const PolicyPathList *places)
{
	return rule->velocity != NULL;
}

/* Whether a rule that the job can match is one for which `is` says so. */
static bool
can_match(const CompiledPolicy *policy, const Job *job,
		  bool (*is) (const CompiledRule *rule, const PolicyPathList *places),
		  const PolicyPathList *places)
{
	FoundRules	found;
	int		   *open;
	int			count;

	if (policy == NULL)
		return false;
	rule_index_meet(policy->index, job, &found);
	open = rule_index_open(&found, &count);
	for (int i = 0; i < count; i++)
	{
		if (is(&policy->rules[open[i]], places))
			return true;
	}
	return false;
}

static bool
either_can_match(const Replay *replay, const Job *job,
				 bool (*is) (const CompiledRule *rule, const PolicyPathList *places),
				 const PolicyPathList *places)
{
	return can_match(replay->base, job, is, places) ||
		can_match(replay->candidate, job, is, places);
}

static bool
hides(Jsonb *source, const PolicyPathList *places)
{
	return VARSIZE(policy_without(source, places)) != VARSIZE(source);
}

/* Whether a job's field is at the place, or above or below it. */
static bool
is_of_field(const PolicyPath *path)
{
	static const char *const fields[] = {
		"topic", "tenant_id", "tenant", "risk_tags", "requires", "labels", "capability", "pack_id",
		"actor", "actor_id", "actor_type", "actor_roles", "mcp", "secrets_present"
	};

	if (path->nsteps == 0)
		return true;
	for (int i = 0; i < (int) lengthof(fields); i++)
	{
		if (path->steps[0].kind == POLICY_STEP_KEY &&
			path->steps[0].keylen == (int) strlen(fields[i]) &&
			memcmp(path->steps[0].key, fields[i], path->steps[0].keylen) == 0)
			return true;
	}
	return false;
}

/*
 * What was masked when the job was recorded: returns whether anything that conditions
 * on fields read; others, that a `when` alone could read, are put in *hidden.
 */
static bool
find_masked(const ReplayedJob *replayed, PolicyPathList *hidden)
{
	static PolicyStep payload = {.kind = POLICY_STEP_KEY, .key = "payload", .keylen = 7};
	const PolicyPathList none = {0};
	const PolicyPathList *masks = replayed->recorded != NULL ? &replayed->recorded->masks : &none;
	bool		fields = false;

	hidden->items = palloc(sizeof(PolicyPath) * (masks->count + 1));
	hidden->count = 0;
	if (replayed->payload_hidden)
		hidden->items[hidden->count++] = (PolicyPath)
	{
		.steps = &payload, .nsteps = 1
	};
	for (int i = 0; i < masks->count; i++)
	{
		PolicyPathList mask = {&masks->items[i], 1};

		if (!hides(replayed->source, &mask))
			continue;
		if (is_of_field(mask.items))
			fields = true;
		else
			hidden->items[hidden->count++] = *mask.items;
	}
	return fields;
}

/* Whether, and why, the job cannot be replayed. */
static bool
meets_obstacle(const Replay *replay, const ReplayedJob *replayed, const Job *job,
			   ReplayObstacle *obstacle)
{
	PolicyPathList hidden = {0};

	if (replayed->source != NULL && (replayed->masks_unknown || find_masked(replayed, &hidden)))
		*obstacle = REPLAY_MASKED_FACT;
	else if (job->invalid != NULL)
		*obstacle = REPLAY_INVALID_JOB;
	else if (hidden.count > 0 && either_can_match(replay, job, rule_reads, &hidden))
		*obstacle = REPLAY_MASKED_FACT;
	else if (!replay->in_order && either_can_match(replay, job, rule_has_velocity, NULL))
		*obstacle = REPLAY_VELOCITY;
	else
		return false;
	return true;
}

typedef struct ReplayCounter
{
	uint8		digest[POLICY_DIGEST_LENGTH];	/* of rate_key() */
	int			window;
	Rate		rate;
} ReplayCounter;

#define FIRST_SWEEP 100000

/* Takes away the counters that say nothing any more, or there would be one a key. */
static void
sweep(ReplayRates *rates)
{
	HASH_SEQ_STATUS scan;
	ReplayCounter *counter;

	hash_seq_init(&scan, rates->counters);
	while ((counter = hash_seq_search(&scan)) != NULL)
	{
		if (rate_is_idle(&counter->rate, counter->window, rates->at))
			hash_search(rates->counters, counter->digest, HASH_REMOVE, NULL);
	}
	rates->sweep_at = Max(FIRST_SWEEP, 2 * hash_get_num_entries(rates->counters));
}

static PolicyRateState
ask_counter(PolicyRates *asked, const CompiledRule *rule, const Job *job, TimestampTz at,
			int *wait)
{
	ReplayRates *rates = (ReplayRates *) asked;
	const PolicyVelocity *velocity = rule->velocity;
	uint8		digest[POLICY_DIGEST_LENGTH];
	StringInfoData key;
	ReplayCounter *counter;
	bool		found;
	bool		admits;

	initStringInfo(&key);
	rate_key(&key, rule->id, velocity, job);
	policy_digest(key.data, key.len, digest);
	if (hash_get_num_entries(rates->counters) >= rates->sweep_at)
		sweep(rates);
	counter = hash_search(rates->counters, digest, HASH_ENTER, &found);
	if (!found)
	{
		counter->window = velocity->window_seconds;
		memset(&counter->rate, 0, sizeof(Rate));
	}
	admits = rate_admits(&counter->rate, velocity->window_seconds, velocity->max_requests,
						 rates->at);
	*wait = admits ? 0 : Max(1, rate_wait(&counter->rate, velocity->window_seconds,
										  velocity->max_requests, rates->at));
	/* What is throttled is given back, and charged when it is admitted. */
	if (rates->charges && (admits || rule->decision != POLICY_THROTTLE))
		rate_charge(&counter->rate, velocity->window_seconds, rates->at);
	return admits ? POLICY_RATE_ADMITS : POLICY_RATE_EXCEEDED;
}

static void
begin_rates(ReplayRates *rates)
{
	HASHCTL		control = {.keysize = POLICY_DIGEST_LENGTH, .entrysize = sizeof(ReplayCounter)};

	control.hcxt = CurrentMemoryContext;
	rates->rates.ask = ask_counter;
	rates->counters = hash_create("replayed velocities", 1024, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rates->sweep_at = FIRST_SWEEP;
}

/* A velocity's counter is that of the job's own time, whatever the moment is. */
static void
decide(const CompiledPolicy *policy, Replay *replay, Job *job, TimestampTz at,
	   PolicyVerdict *verdict)
{
	ReplayRates *rates = policy == replay->base ? &replay->base_rates : &replay->candidate_rates;
	PolicyBudget no_limit = {0};

	if (policy == NULL)
		*verdict = replay->denial;
	else
		policy_decide(policy, job, at, NULL, replay->in_order ? &rates->rates : NULL, &no_limit,
					  verdict);
}

static void
set_rates(Replay *replay, TimestampTz at, bool charges)
{
	replay->base_rates.at = replay->candidate_rates.at = at;
	replay->base_rates.charges = replay->candidate_rates.charges = charges;
}

/*
 * The attempt itself: once under each policy, whatever was looked at before.  What is
 * left out for a fact that is masked was an attempt all the same.
 */
static void
charge_attempt(Replay *replay, const ReplayedJob *replayed, Job *job)
{
	TimestampTz at = replayed->time;
	PolicyVerdict verdict;

	if (!replay->in_order || job->invalid != NULL)
		return;
	set_rates(replay, at, true);
	if (replay->base != NULL && replay->base->has_velocity)
		decide(replay->base, replay, job, at, &verdict);
	if (replay->candidate->has_velocity && replay->candidate != replay->base)
		decide(replay->candidate, replay, job, at, &verdict);
	set_rates(replay, at, false);
}

/* How bad a change is: looser before tighter, then by how far the decision goes. */
static int
badness(PolicyChange change, int why, const PolicyVerdict *from, const PolicyVerdict *to)
{
	int			steps = abs((int) from->decision - (int) to->decision);

	return ((int) change * POLICY_NDECISIONS + steps) * (CHANGE_KINDS + 1) +
		pg_popcount32((uint32) why);
}

/* The worst of the moments; the first one where nothing changes. */
static void
find_worst(Replay *replay, const Moments *moments, ReplayOutcome *outcome, ReplayFlip *flip)
{
	int			worst = -1;

	for (int i = 0; i < moments->count; i++)
	{
		TimestampTz at = moments->items[i];
		PolicyVerdict from;
		PolicyVerdict to;
		ComparedVerdict base = {replay->base, &from};
		ComparedVerdict candidate = {replay->candidate, &to};
		PolicyChange change;
		int			why;
		int			bad;

		decide(replay->base, replay, &flip->job, at, &from);
		decide(replay->candidate, replay, &flip->job, at, &to);
		change = policy_compare(&base, &candidate, &flip->job, at, &why);
		if (i == 0)
			outcome->then = to.decision;
		if (at >= moments->items[0] && to.decision == POLICY_REQUIRE_APPROVAL &&
			from.decision != POLICY_REQUIRE_APPROVAL)
			outcome->newly_approval = true;
		bad = badness(change, why, &from, &to);
		if (bad <= worst)
			continue;
		worst = bad;
		outcome->change = change;
		flip->why = why;
		flip->at = at;
		flip->from = from;
		flip->to = to;
	}
	outcome->from = flip->from.decision;
	outcome->to = flip->to.decision;
}

static bool
same_rules(const PolicyVerdict *a, const PolicyVerdict *b)
{
	if (a->nmatched != b->nmatched || a->default_counts != b->default_counts)
		return false;
	for (int i = 0; i < a->nmatched; i++)
	{
		if (a->matched[i] != b->matched[i] && strcmp(a->matched[i]->id, b->matched[i]->id) != 0)
			return false;
	}
	return true;
}

/* The numbers of those rules that `with` lists and `without` does not. */
static RuleNumbers
find_others(ReplayRules *rules, const PolicyVerdict *with, const int *with_numbers,
			const PolicyVerdict *without, const int *without_numbers)
{
	RuleNumbers others = {palloc(sizeof(int32) * (with->nmatched + 1)), 0};

	rules->round++;
	for (int i = 0; i < without->nmatched; i++)
		rules->seen[without_numbers[without->matched[i]->position]] = rules->round;
	for (int i = 0; i < with->nmatched; i++)
	{
		int			number = with_numbers[with->matched[i]->position];

		if (rules->seen[number] != rules->round)
			others.items[others.count++] = number;
	}
	if (with->default_counts && !without->default_counts)
		others.items[others.count++] = 0;
	return others;
}

static void
set_rules(ReplayRules *rules, const ReplayFlip *flip, ReplayOutcome *outcome)
{
	if (same_rules(&flip->from, &flip->to))
		return;
	outcome->lost = find_others(rules, &flip->from, rules->base, &flip->to, rules->candidate);
	outcome->gained = find_others(rules, &flip->to, rules->candidate, &flip->from, rules->base);
}

void
replay_job(Replay *replay, const ReplayedJob *replayed, ReplayOutcome *outcome, ReplayFlip *flip)
{
	Moments		moments;

	memset(outcome, 0, sizeof(ReplayOutcome));
	memset(flip, 0, sizeof(ReplayFlip));
	outcome->has_time = replayed->has_time;
	outcome->time = replayed->time;
	outcome->has_decision = replayed->has_decision;
	outcome->recorded = replayed->decision;
	policy_job_read(replayed->source, &flip->job);
	if (meets_obstacle(replay, replayed, &flip->job, &outcome->obstacle))
	{
		charge_attempt(replay, replayed, &flip->job);
		return;
	}
	outcome->replayed = true;
	moments = moments_of(replay, replayed, &flip->job);
	set_rates(replay, replayed->time, false);
	find_worst(replay, &moments, outcome, flip);
	set_rules(&replay->rules, flip, outcome);
	charge_attempt(replay, replayed, &flip->job);
}

void
replay_count(ReplayCounts *counts, const ReplayOutcome *outcome)
{
	counts->jobs++;
	if (outcome->has_time)
	{
		counts->first = Min(counts->first, outcome->time);
		counts->last = Max(counts->last, outcome->time);
	}
	if (!outcome->replayed)
	{
		counts->obstacles[outcome->obstacle]++;
		return;
	}
	counts->replayed++;
	counts->matrix[outcome->from][outcome->to]++;
	if (outcome->has_decision)
		counts->matrix_then[outcome->recorded][outcome->then]++;
	counts->loosened += outcome->change == POLICY_LOOSENED;
	counts->tightened += outcome->change == POLICY_TIGHTENED;
	counts->newly_approval += outcome->newly_approval;
	for (int i = 0; i < outcome->gained.count; i++)
		counts->gained[outcome->gained.items[i]]++;
	for (int i = 0; i < outcome->lost.count; i++)
		counts->lost[outcome->lost.items[i]]++;
}

void
replay_warm_up(Replay *replay, const ReplayedJob *replayed)
{
	Job			job;

	policy_job_read(replayed->source, &job);
	charge_attempt(replay, replayed, &job);
}

static int
longest_window(const CompiledPolicy *policy)
{
	int			longest = 0;

	for (int i = 0; policy != NULL && i < policy->nrules; i++)
	{
		if (policy->rules[i].velocity != NULL)
			longest = Max(longest, policy->rules[i].velocity->window_seconds);
	}
	return longest;
}

int
replay_longest_window(const CompiledPolicy *base, const CompiledPolicy *candidate)
{
	return Max(longest_window(base), longest_window(candidate));
}

void
replay_begin(Replay *replay, CompiledPolicy *base, CompiledPolicy *candidate,
			 TimestampTz present)
{
	memset(replay, 0, sizeof(Replay));
	replay->base = base;
	replay->candidate = candidate;
	replay->present = present;
	replay->has_times = policy_has_times(base) || policy_has_times(candidate);
	begin_rules(&replay->rules, base, candidate);
	begin_rates(&replay->base_rates);
	begin_rates(&replay->candidate_rates);
	policy_verdict_without_rule(POLICY_DENY, "no active policy", &replay->denial);
}

void
replay_begin_counts(const Replay *replay, ReplayCounts *counts)
{
	memset(counts, 0, sizeof(ReplayCounts));
	counts->first = DT_NOEND;
	counts->last = DT_NOBEGIN;
	counts->gained = palloc0(sizeof(int64) * replay->rules.count);
	counts->lost = palloc0(sizeof(int64) * replay->rules.count);
}
