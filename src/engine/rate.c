/*
 * rate.c
 *	  How many requests the last so many seconds had.
 */
#include "postgres.h"

#include "engine/rate.h"

#define NBUCKETS (RATE_SUB_BUCKETS + 1)

/* A sub-bucket's length in microseconds: a second has a whole number for each. */
#define BUCKET_USECS(window_seconds) ((int64) (window_seconds) * (USECS_PER_SEC / RATE_SUB_BUCKETS))

static int64
bucket_number(TimestampTz at, int window_seconds)
{
	int64		usecs = BUCKET_USECS(window_seconds);
	int64		number = at / usecs;

	return at % usecs < 0 ? number - 1 : number;
}

static uint32 *
bucket(Rate *rate, int64 number)
{
	int64		place = number % NBUCKETS;

	return &rate->charges[place < 0 ? place + NBUCKETS : place];
}

static uint32
add_saturated(uint32 a, uint32 b)
{
	return a > PG_UINT32_MAX - b ? PG_UINT32_MAX : a + b;
}

/* All of it charged now: for a clock that was set back. */
static void
collapse(Rate *rate, int64 now)
{
	uint32		sum = 0;

	for (int i = 0; i < NBUCKETS; i++)
	{
		sum = add_saturated(sum, rate->charges[i]);
		rate->charges[i] = 0;
	}
	rate->newest = now;
	*bucket(rate, now) = sum;
}

/* Forgets what does not count any more; the newest sub-bucket is then the present one. */
static void
advance(Rate *rate, int window_seconds, TimestampTz at)
{
	int64		now = bucket_number(at, window_seconds);

	if (now - rate->newest >=NBUCKETS)
	{
		memset(rate->charges, 0, sizeof(rate->charges));
		rate->newest = now;
	}
	else if (rate->newest -now >= NBUCKETS)
		collapse(rate, now);
	while (rate->newest <now)
		*bucket(rate, ++rate->newest) = 0;
}

/* What counts; more than any limit where a sub-bucket is full. */
static int64
charges_of(const Rate *rate)
{
	int64		sum = 0;

	for (int i = 0; i < NBUCKETS; i++)
	{
		if (rate->charges[i] == PG_UINT32_MAX)
			return PG_INT64_MAX;
		sum += rate->charges[i];
	}
	return sum;
}

bool
rate_admits(const Rate *rate, int window_seconds, int64 limit, TimestampTz at)
{
	Rate		present = *rate;

	advance(&present, window_seconds, at);
	return charges_of(&present) < limit;
}

void
rate_charge(Rate *rate, int window_seconds, TimestampTz at)
{
	uint32	   *newest;

	advance(rate, window_seconds, at);
	newest = bucket(rate, rate->newest);

	*newest = add_saturated(*newest, 1);
}

int
rate_wait(const Rate *rate, int window_seconds, int64 limit, TimestampTz at)
{
	Rate		present = *rate;
	int64		oldest;
	int64		ends;

	advance(&present, window_seconds, at);
	oldest = present.newest -RATE_SUB_BUCKETS;
	while (charges_of(&present) >= limit)
		*bucket(&present, oldest++) = 0;
	if (oldest == present.newest -RATE_SUB_BUCKETS)
		return 0;

	/*
	 * The last that has to go stops counting when the one NBUCKETS later
	 * begins.
	 */
	ends = (oldest - 1 + NBUCKETS) * BUCKET_USECS(window_seconds);
	return (int) ((ends - at + USECS_PER_SEC - 1) / USECS_PER_SEC);
}

bool
rate_is_idle(const Rate *rate, int window_seconds, TimestampTz at)
{
	Rate		present = *rate;

	advance(&present, window_seconds, at);
	return charges_of(&present) == 0;
}

static void
append_string(StringInfo key, const char *data, int len)
{
	appendBinaryStringInfo(key, (char *) &len, sizeof(len));
	appendBinaryStringInfo(key, data, len);
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

void
rate_key(StringInfo key, const char *rule_id, const PolicyVelocity *velocity, const Job *job)
{
	append_string(key, rule_id, strlen(rule_id));
	appendBinaryStringInfo(key, (char *) &velocity->window_seconds, sizeof(int));
	for (int i = 0; i < velocity->nparts; i++)
	{
		const PolicyKeyPart *part = &velocity->parts[i];
		const JobString *value = part_value(part, job);

		appendStringInfoChar(key, 'a' + part->kind);
		if (part->kind == POLICY_KEYPART_LABEL)
			append_string(key, part->label, part->labellen);
		if (value == NULL || value->data == NULL)
			append_string(key, "", 0);
		else
			append_string(key, value->data, value->len);
	}
}
