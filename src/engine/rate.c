/*
 * rate.c
 *	  How many requests the last so many seconds had.
 */
#include "postgres.h"

#include "engine/rate.h"

/* A sub-bucket's length in microseconds: a second has a whole number for each. */
#define BUCKET_USECS(window_seconds) ((int64) (window_seconds) * (USECS_PER_SEC / RATE_SUB_BUCKETS))

static int64
bucket_number(TimestampTz at, int window_seconds)
{
	int64		usecs = BUCKET_USECS(window_seconds);
	int64		number = at / usecs;

	return at % usecs < 0 ? number - 1 : number;
}

static inline uint32 *
bucket(Rate *rate, int64 number)
{
	return &rate->charges[(uint64) number % RATE_KEPT];
}

/* What was charged from a sub-bucket on; more than any limit where one is full. */
static int64
charges_from(const Rate *rate, int64 number)
{
	int64		sum = 0;

	for (number = Max(number, rate->latest - RATE_KEPT + 1); number <= rate->latest; number++)
	{
		uint32		charges = *bucket(unconstify(Rate *, rate), number);

		if (charges == PG_UINT32_MAX)
			return PG_INT64_MAX;
		sum += charges;
	}
	return sum;
}

static inline bool
is_late(const Rate *rate, int64 number)
{
	return rate->latest - number >= RATE_KEPT - RATE_SUB_BUCKETS;
}

bool
rate_is_late(const Rate *rate, int window_seconds, TimestampTz at)
{
	return is_late(rate, bucket_number(at, window_seconds));
}

void
rate_set_back(Rate *rate, int window_seconds, TimestampTz at)
{
	int64		sum = charges_from(rate, rate->latest - RATE_KEPT + 1);

	memset(rate->charges, 0, sizeof(rate->charges));
	rate->latest = bucket_number(at, window_seconds);
	*bucket(rate, rate->latest) = (uint32) Min(sum, PG_UINT32_MAX);
}

bool
rate_admits(const Rate *rate, int window_seconds, int64 limit, TimestampTz at)
{
	int64		number = bucket_number(at, window_seconds);

	return !is_late(rate, number) && charges_from(rate, number - RATE_SUB_BUCKETS) < limit;
}

void
rate_charge(Rate *rate, int window_seconds, TimestampTz at)
{
	int64		now = bucket_number(at, window_seconds);
	uint32	   *charges;

	if (is_late(rate, now))
		now = rate->latest - (RATE_KEPT - RATE_SUB_BUCKETS) + 1;
	if (now - rate->latest >= RATE_KEPT)
	{
		memset(rate->charges, 0, sizeof(rate->charges));
		rate->latest = now;
	}
	while (rate->latest < now)
		*bucket(rate, ++rate->latest) = 0;
	charges = bucket(rate, now);
	if (*charges < PG_UINT32_MAX)
		(*charges)++;
}

/* When a request is admitted that is within the limit, none being charged until then. */
static TimestampTz
admitted_at(const Rate *rate, int window_seconds, int64 limit, TimestampTz at)
{
	int64		last = bucket_number(at, window_seconds) - RATE_SUB_BUCKETS;

	if (rate_admits(rate, window_seconds, limit, at))
		return at;
	/* The last that has to stop counting. */
	last = Max(last, rate->latest - RATE_KEPT + 1);
	while (last < rate->latest && charges_from(rate, last + 1) >= limit)
		last++;
	return (last + RATE_SUB_BUCKETS + 1) * BUCKET_USECS(window_seconds);
}

/*
 * As many as the limit come in one turn, as the charges of now stop counting, and so
 * do theirs in the next, a window and a sub-bucket later, and what rounding adds.
 */
int
rate_wait_in_line(const Rate *rate, int window_seconds, int64 limit, int64 ahead, TimestampTz at)
{
	int64		turn = BUCKET_USECS(window_seconds) * (RATE_SUB_BUCKETS + 1) + USECS_PER_SEC;
	int64		turns = Min(ahead / limit, PG_INT32_MAX / window_seconds);
	int64		usecs = turns * turn +
	admitted_at(rate, window_seconds, limit - ahead % limit, at) - at;

	return (int) Min((usecs + USECS_PER_SEC - 1) / USECS_PER_SEC, PG_INT32_MAX);
}

int
rate_wait(const Rate *rate, int window_seconds, int64 limit, TimestampTz at)
{
	return rate_wait_in_line(rate, window_seconds, limit, 0, at);
}

bool
rate_is_idle(const Rate *rate, int window_seconds, TimestampTz at)
{
	return rate_admits(rate, window_seconds, 1, at);
}

/* Bytes with their length before them, where there is room. */
static inline char *
put_string(char *to, const char *data, int len)
{
	memcpy(to, &len, sizeof(len));
	memcpy(to + sizeof(len), data, len);
	return to + sizeof(len) + len;
}

static const JobString *
part_value(const PolicyKeyPart *part, const Job *job)
{
	static const PolicyField fields[] = {
		[POLICY_KEYPART_TENANT] = POLICY_FIELD_TENANT,
		[POLICY_KEYPART_TOPIC] = POLICY_FIELD_TOPIC,
		[POLICY_KEYPART_CAPABILITY] = POLICY_FIELD_CAPABILITY,
		[POLICY_KEYPART_PACK_ID] = POLICY_FIELD_PACK_ID,
		[POLICY_KEYPART_ACTOR_ID] = POLICY_FIELD_ACTOR_ID,
		[POLICY_KEYPART_ACTOR_TYPE] = POLICY_FIELD_ACTOR_TYPE
	};

	if (part->kind == POLICY_KEYPART_LABEL)
		return policy_job_label(job, part->label, part->labellen);
	return &job->fields[fields[part->kind]];
}

/* A kind, a label's name where it is one, and the value, an absent one as empty. */
static void
append_part(StringInfo key, const PolicyKeyPart *part, const Job *job)
{
	const JobString *value = part_value(part, job);
	bool		absent = value == NULL || value->data == NULL;
	char	   *to;

	enlargeStringInfo(key, 1 + 2 * sizeof(int) + part->labellen + (absent ? 0 : value->len));
	to = key->data + key->len;
	*to++ = 'a' + part->kind;
	if (part->kind == POLICY_KEYPART_LABEL)
		to = put_string(to, part->label, part->labellen);
	to = absent ? put_string(to, "", 0) : put_string(to, value->data, value->len);
	key->len = to - key->data;
}

void
rate_key(StringInfo key, const char *rule_id, const PolicyVelocity *velocity, const Job *job)
{
	int			len = strlen(rule_id);

	enlargeStringInfo(key, 2 * sizeof(int) + len);
	memcpy(key->data + key->len, &velocity->window_seconds, sizeof(int));
	put_string(key->data + key->len + sizeof(int), rule_id, len);
	key->len += 2 * sizeof(int) + len;
	for (int i = 0; i < velocity->nparts; i++)
		append_part(key, &velocity->parts[i], job);
}
