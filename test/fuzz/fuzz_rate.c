/*
 * fuzz_rate.c
 *	  A rate against a log of what it admitted.  The input is a window, a limit, a
 *	  clock, and the gaps between requests.
 */
#include "shim.h"

#include "engine/rate.h"

#define MAX_REQUESTS 512

int			LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

typedef struct Log
{
	int			window_seconds;
	int64		limit;
	TimestampTz admitted[MAX_REQUESTS];
	int			count;
} Log;

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* How many were admitted between two times, both included. */
static int64
admitted_between(const Log *log, TimestampTz from, TimestampTz to)
{
	int64		count = 0;

	for (int i = 0; i < log->count; i++)
		count += log->admitted[i] >= from && log->admitted[i] <= to;
	return count;
}

static int64
admitted_since(const Log *log, TimestampTz from)
{
	return admitted_between(log, from, PG_INT64_MAX);
}

/*
 * Any window that begins with a request and has the newest one in it.  A request that
 * was late may be in the middle.
 */
static void
check_no_window_exceeds(const Log *log, TimestampTz noted)
{
	TimestampTz window = log->window_seconds * USECS_PER_SEC;

	for (int i = 0; i < log->count; i++)
	{
		TimestampTz from = log->admitted[i];

		if (from <= noted && from >= noted - window)
			require(admitted_between(log, from, from + window) <= log->limit);
	}
}

static void
check_wait(const Rate *rate, const Log *log, TimestampTz at)
{
	int			wait = rate_wait(rate, log->window_seconds, log->limit, at);

	require((wait == 0) == rate_admits(rate, log->window_seconds, log->limit, at));
	require(rate_admits(rate, log->window_seconds, log->limit, at + wait * USECS_PER_SEC));
	if (wait > 0)
		require(!rate_admits(rate, log->window_seconds, log->limit,
							 at + (wait - 1) * USECS_PER_SEC));
}

/* Those who wait in line are admitted when they come back, all of them. */
static void
check_line(const Rate *rate, const Log *log, TimestampTz at)
{
	Rate		future = *rate;

	for (int64 ahead = 0; ahead < 3 * log->limit; ahead++)
	{
		TimestampTz comes = at + USECS_PER_SEC *
		rate_wait_in_line(rate, log->window_seconds, log->limit, ahead, at);

		require(rate_admits(&future, log->window_seconds, log->limit, comes));
		rate_charge(&future, log->window_seconds, comes);
	}
}

/* How much more than the last window may count against a request. */
static void
check_is_close(const Rate *rate, const Log *log, TimestampTz at)
{
	TimestampTz window = log->window_seconds * USECS_PER_SEC;
	TimestampTz longest = window + window / RATE_SUB_BUCKETS;

	if (!rate_admits(rate, log->window_seconds, log->limit, at))
		require(admitted_since(log, at - longest + 1) >= log->limit);
	if (admitted_since(log, at - window) > 0)
		require(!rate_is_idle(rate, log->window_seconds, at));
	if (admitted_since(log, at - longest) == 0)
		require(rate_is_idle(rate, log->window_seconds, at));
}

/* Asks, and charges what is admitted; time is what is noted of it. */
static void
request(Rate *rate, Log *log, TimestampTz time, TimestampTz clock)
{
	if (!rate_admits(rate, log->window_seconds, log->limit, clock))
		return;
	rate_charge(rate, log->window_seconds, clock);
	log->admitted[log->count++] = time;
	check_no_window_exceeds(log, time);
}

/*
 * What comes next: a request in order; one that comes late; or the clock is set back,
 * while time goes on.
 */
static void
run(const uint8 *data, size_t size, Log *log, TimestampTz time)
{
	Rate		rate = {0};
	TimestampTz set_back = 0;
	bool		in_order = true;

	for (size_t i = 0; i + 2 <= size && log->count < MAX_REQUESTS; i += 2)
	{
		/* From nothing to two windows, more often a short while. */
		TimestampTz gap = log->window_seconds * (USECS_PER_SEC / 256) * data[i] *
		(data[i + 1] & 0x3f) / 32;
		TimestampTz clock;

		if ((data[i + 1] & 0xc0) == 0x80)
		{
			in_order = false;
			request(&rate, log, time - gap, time - gap - set_back);
			continue;
		}
		time += gap;
		if ((data[i + 1] & 0xc0) == 0xc0)
		{
			in_order = false;
			set_back += 2 * gap;
		}
		clock = time - set_back;
		if (rate_is_late(&rate, log->window_seconds, clock))
		{
			require(!rate_admits(&rate, log->window_seconds, log->limit, clock));
			rate_set_back(&rate, log->window_seconds, clock);
		}
		check_wait(&rate, log, clock);
		if (in_order)
		{
			check_is_close(&rate, log, time);
			check_line(&rate, log, time);
		}
		request(&rate, log, time, clock);
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const int windows[] = {1, 2, 7, 60, 3600, 86399, 86400};
	static Log	log;
	TimestampTz starts[] = {INT64CONST(845000000000123), 0, -INT64CONST(500) * USECS_PER_DAY};

	if (size < 4)
		return 0;
	log.window_seconds = windows[data[0] % lengthof(windows)];
	log.limit = 1 + data[1] % 20;
	log.count = 0;
	run(data + 3, size - 3, &log, starts[data[2] % lengthof(starts)]);
	return 0;
}
