# SPDX-License-Identifier: Apache-2.0
# Read by ctest behind the list of tests.
# No other test may run beside it: it compares the machine's count of free huge pages, which every daemon changes.
set_tests_properties(integration.LifecycleTest.SigtermGivesBackEverything PROPERTIES RUN_SERIAL TRUE)
# First, since it takes two minutes, beside which the others run.
set_tests_properties(integration.LongSoakTest.EverythingAtOnceLosesNothingAndLeavesNothing PROPERTIES COST 2000 TIMEOUT 600)
