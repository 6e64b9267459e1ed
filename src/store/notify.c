/*
 * notify.c
 *	  One NOTIFY a channel and transaction, with the ids of what was touched.
 *
 * Ids are collected with the subtransaction that they were told in, in
 * TopTransactionContext, and sent as a JSON array just before the commit; an empty
 * array where they do not fit.  A prepared transaction tells nothing: PostgreSQL
 * cannot keep a notification for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "store/notify.h"

/* PostgreSQL's limit, the terminating NUL included. */
#define MAX_PAYLOAD 8000

/* No longer list of ids fits: each takes two characters at least. */
#define MAX_IDS (MAX_PAYLOAD / 2)

typedef struct Told
{
	int64		id;
	SubTransactionId subid;
} Told;

typedef struct Channel
{
	const char *name;
	Told	   *told;
	int			ntold;
	SubTransactionId overflowed_by; /* the first that found it full; or
									 * invalid */
} Channel;

static Channel channels[POLICY_NCHANNELS] = {
	[POLICY_CHANNEL_RELEASES] = {.name = "policy_releases"},
	[POLICY_CHANNEL_APPROVALS] = {.name = "policy_approvals"},
	[POLICY_CHANNEL_HALTS] = {.name = "policy_halts"},
};

void
policy_notify(PolicyChannel which, int64 id)
{
	Channel    *channel = &channels[which];
	SubTransactionId subid = GetCurrentSubTransactionId();

	for (int i = channel->ntold - 1; i >= 0 && i >= channel->ntold - 16; i--)
	{
		if (channel->told[i].id == id)
			return;
	}
	if (channel->told == NULL)
		channel->told = MemoryContextAlloc(TopTransactionContext, sizeof(Told) * MAX_IDS);
	if (channel->ntold == MAX_IDS)
	{
		if (channel->overflowed_by == InvalidSubTransactionId)
			channel->overflowed_by = subid;
		return;
	}
	channel->told[channel->ntold].id = id;
	channel->told[channel->ntold].subid = subid;
	channel->ntold++;
}

static bool
told_before(const Channel *channel, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (channel->told[i].id == channel->told[n].id)
			return true;
	}
	return false;
}

static void
send(const Channel *channel)
{
	StringInfoData payload;
	bool		fits = channel->overflowed_by == InvalidSubTransactionId;

	initStringInfo(&payload);
	appendStringInfoChar(&payload, '[');
	for (int i = 0; i < channel->ntold && fits; i++)
	{
		if (told_before(channel, i))
			continue;
		appendStringInfo(&payload, payload.len > 1 ? "," INT64_FORMAT : INT64_FORMAT,
						 channel->told[i].id);
		fits = payload.len <= MAX_PAYLOAD - 2;
	}
	appendStringInfoChar(&payload, ']');
	Async_Notify(channel->name, fits ? payload.data : "[]");
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	for (int i = 0; i < POLICY_NCHANNELS; i++)
	{
		Channel    *channel = &channels[i];

		if (event == XACT_EVENT_PRE_COMMIT && channel->ntold > 0)
			send(channel);
		if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
			event == XACT_EVENT_PREPARE)
		{
			channel->told = NULL;
			channel->ntold = 0;
			channel->overflowed_by = InvalidSubTransactionId;
		}
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid,
					  SubTransactionId parent_subid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = 0; i < POLICY_NCHANNELS; i++)
	{
		Channel    *channel = &channels[i];

		/* What was told since it began was told by it or by its children. */
		while (channel->ntold > 0 && channel->told[channel->ntold - 1].subid >= my_subid)
			channel->ntold--;
		if (channel->overflowed_by >= my_subid)
			channel->overflowed_by = InvalidSubTransactionId;
	}
}

void
policy_notify_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
