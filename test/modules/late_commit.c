/*
 * late_commit.c
 *	  A backend that stands still in the middle of its commit.
 *
 * A transaction can be seen by others a moment before they get its invalidation
 * messages.  Transaction callbacks run in between: with late_commit.until set, that of a
 * commit waits there until the file of that name exists.
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* A test that has failed does not come back. */
#define MAX_WAIT_MS (60 * 1000)
#define POLL_MS 10

static char *until = NULL;

static void
wait_for_file(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT || until[0] == '\0')
		return;
	for (int waited = 0; access(until, F_OK) != 0 && waited < MAX_WAIT_MS; waited += POLL_MS)
		pg_usleep(POLL_MS * 1000L);
}

void
_PG_init(void)
{
	DefineCustomStringVariable("late_commit.until", "The file that a commit waits for.", NULL,
							   &until, "", PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(wait_for_file, NULL);
}
