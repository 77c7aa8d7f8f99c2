// Bugs that are planted on purpose, to see whether the tests find them.
//
// `cargo xtask cuda` builds the emulated kernels once for each, with CALLBOX_PLANTED_BUG set to its name; nothing that
// is shipped does. Without it, PLANTED is the constant false, and no code of a bug is built.
#pragma once

#define BUG_NONE 0
#define BUG_WRONG_HEAD 1
#define BUG_PAGE_OUT_OF_RANGE 2
#define BUG_MISSING_BARRIER 3
#define BUG_DIVERGENT_BARRIER 4
#define BUG_FORGOTTEN_ARGUMENT 5
#define BUG_WRONG_ROUNDING 6

#ifndef CALLBOX_PLANTED_BUG
#define CALLBOX_PLANTED_BUG BUG_NONE
#endif

#define PLANTED(bug) (CALLBOX_PLANTED_BUG == bug)
