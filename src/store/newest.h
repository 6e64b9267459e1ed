/*
 * newest.h
 *	  The newest release, for as long as nothing was released since.
 */
#ifndef POLICY_NEWEST_H
#define POLICY_NEWEST_H

#include "utils/snapshot.h"

#include "store/active.h"

extern void policy_newest_init(void);

/*
 * Fills *look, but for its key, where the newest release is known and snapshot sees
 * it (NULL: whatever is committed).  Returns false where a look must be taken.
 */
extern bool policy_newest_known(Snapshot snapshot, PolicyLook *look);

/* To be called before a look that is to be learned from: what to tell it then. */
extern uint64 policy_newest_watch(void);

/*
 * Keeps what a look found, if it is the newest release of all and nothing was
 * signalled since policy_newest_watch() returned `before`.
 */
extern void policy_newest_learn(const PolicyLook *look, uint64 before);

/* A release was made, by this very transaction: tells it and, once it commits, all. */
extern void policy_newest_signal(void);

#endif							/* POLICY_NEWEST_H */
