/*
 * replay_packet.h
 *	  What came of a job, as bytes: from a worker of a parallel query to its leader.
 */
#ifndef POLICY_REPLAY_PACKET_H
#define POLICY_REPLAY_PACKET_H

#include "access/htup.h"

#include "replay/replay.h"

/* flip may be NULL.  In the current memory context. */
extern bytea *replay_pack(const ReplayOutcome *outcome, HeapTuple flip);

/*
 * The same back, into the current memory context; flip->t_data is NULL where there is
 * none.
 */
extern void replay_unpack(const bytea *packet, ReplayOutcome *outcome, HeapTuple flip);

#endif							/* POLICY_REPLAY_PACKET_H */
