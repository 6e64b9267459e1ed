/*
 * settings_sql.c
 *	  What an operator can set for documents.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "language/language.h"
#include "language/yaml.h"

int			policy_max_document_bytes = 4 * 1024 * 1024;

void
policy_language_init(void)
{
	DefineCustomIntVariable("policy_engine.max_document_bytes",
							"Largest policy document that policy_stage and policy_validate take.",
							"The type policy_document takes up to 64 MB whatever this is, so that a dump can always be restored.",
							&policy_max_document_bytes,
							4 * 1024 * 1024,
							1024,
							POLICY_MAX_SOURCE_BYTES,
							PGC_SUSET,
							GUC_UNIT_BYTE,
							NULL, NULL, NULL);
}
