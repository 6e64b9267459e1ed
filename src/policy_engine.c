/*
 * policy_engine.c
 *	  Library load: one initialisation a room.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "attach/attach.h"
#include "compat.h"
#include "dispatch/dispatch.h"
#include "language/language.h"
#include "replay/replay_init.h"
#include "store/store.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	policy_language_init();
	policy_store_init();
	policy_dispatch_init();
	policy_attach_init();
	policy_replay_init();
	MarkGUCPrefixReserved("policy_engine");
}
