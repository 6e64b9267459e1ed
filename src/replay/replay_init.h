/*
 * replay_init.h
 *	  What _PG_init calls of this room.
 */
#ifndef POLICY_REPLAY_INIT_H
#define POLICY_REPLAY_INIT_H

extern void policy_replay_init(void);

#endif							/* POLICY_REPLAY_INIT_H */
