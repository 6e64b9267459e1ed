/*
 * progress.h
 *	  How far the replays of all sessions are.
 */
#ifndef POLICY_PROGRESS_H
#define POLICY_PROGRESS_H

typedef struct PolicyProgress PolicyProgress;

/*
 * Shows a replay to everybody, until policy_progress_end(); expected is how many
 * jobs the planner expects.  Where too many replays are shown already, or there is
 * no shared memory left, it is not, and returns NULL, which the others take.
 */
extern PolicyProgress *policy_progress_begin(int64 simulation_id, const char *snapshot,
											 double expected);
extern void policy_progress_set(PolicyProgress *progress, int64 jobs);
extern void policy_progress_end(PolicyProgress *progress);

#endif							/* POLICY_PROGRESS_H */
