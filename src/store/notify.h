/*
 * notify.h
 *	  One NOTIFY a channel and transaction, with the ids of what was touched.
 */
#ifndef POLICY_NOTIFY_H
#define POLICY_NOTIFY_H

typedef enum PolicyChannel
{
	POLICY_CHANNEL_RELEASES,
	POLICY_CHANNEL_APPROVALS,
	POLICY_CHANNEL_HALTS
} PolicyChannel;

#define POLICY_NCHANNELS (POLICY_CHANNEL_HALTS + 1)

/*
 * Adds an id to what this transaction will tell at its commit; a rolled-back
 * subtransaction takes its ids back.
 */
extern void policy_notify(PolicyChannel channel, int64 id);

extern void policy_notify_init(void);

#endif							/* POLICY_NOTIFY_H */
