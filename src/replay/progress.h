/*
 * progress.h
 *	  How far the replays of all sessions are.
 */
#ifndef POLICY_PROGRESS_H
#define POLICY_PROGRESS_H

/*
 * Shows a replay to everybody, until policy_progress_end(); expected is how many
 * jobs the planner expects.  Where too many replays are shown already, or there is
 * no shared memory left, it is not.
 */
extern void policy_progress_begin(int64 simulation_id, const char *snapshot, double expected);
extern void policy_progress_set(int64 jobs);
extern void policy_progress_end(void);

#endif							/* POLICY_PROGRESS_H */
