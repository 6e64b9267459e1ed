/*
 * fuzz_document.c
 *	  Any text is a policy without errors, or has at least one with a place; a
 *	  policy without errors can be linted and compiled.
 */
#include "shim.h"

#include "engine/compile.h"
#include "engine/lint.h"

int			LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static void
check(const char *source, int len)
{
	PolicyDiagnostics diags;
	PolicyBudget no_limit = {0};
	uint8		digest[POLICY_DIGEST_LENGTH] = {0};
	Policy	   *policy;

	policy_diagnostics_init(&diags);
	policy = policy_parse(source, len, &diags);
	if ((policy == NULL) != (diags.nerrors > 0))
		abort();
	for (int i = 0; i < diags.count; i++)
	{
		if (diags.items[i].message == NULL || diags.items[i].mark.line < 0 ||
			!shim_is_text(diags.items[i].message, strlen(diags.items[i].message)))
			abort();
	}
	if (policy == NULL)
		return;
	policy_lint(policy, 0, &diags);
	if (diags.nerrors > 0)
		abort();
	if (policy_compile(policy, NULL, digest, CurrentMemoryContext, &no_limit) == NULL)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MemoryContext context = shim_begin_input();

	if (shim_is_text((const char *) data, size))
		check(pnstrdup((const char *) data, size), size);
	shim_end_input(context);
	return 0;
}
