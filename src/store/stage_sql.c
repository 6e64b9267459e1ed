/*
 * stage_sql.c
 *	  What staging asks of a document beyond its type.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/acl.h"

#include "errors.h"
#include "language/diagnostics.h"
#include "language/document.h"
#include "language/language.h"
#include "language/policy.h"

PG_FUNCTION_INFO_V1(policy_check_document);

static void
check_size(const PolicyDocument *document)
{
	if (document->source_len > (uint32) policy_max_document_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_POLICY_INVALID_DOCUMENT),
				 errmsg("policy document is %u bytes long", document->source_len),
				 errdetail("policy_engine.max_document_bytes allows %d.",
						   policy_max_document_bytes),
				 errhint("Remove rules that nothing hits, or have a superuser raise the setting.")));
}

static void
check_approvers(const Policy *policy, PolicyDiagnostics *diags)
{
	for (int i = 0; i < policy->nrules; i++)
	{
		const PolicyApproval *approval = policy->rules[i].approval;

		for (int j = 0; approval != NULL && j < approval->napprovers; j++)
		{
			if (!OidIsValid(get_role_oid(approval->approvers[j], true)))
				policy_diagnose(diags, approval->approver_marks[j], POLICY_SEVERITY_ERROR,
								"unknown_role",
								"CREATE ROLE it first, or name a role that exists.",
								"approver \"%s\" is not a role", approval->approvers[j]);
		}
	}
}

Datum
policy_check_document(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	PolicyDiagnostics diags;
	Policy	   *policy;

	check_size(document);
	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	if (policy != NULL)
		check_approvers(policy, &diags);
	if (diags.nerrors > 0)
		policy_diagnostics_raise(&diags);
	PG_RETURN_VOID();
}
