# SPDX-License-Identifier: Apache-2.0
# Read by ctest behind the list of tests: those that no other test may run beside.
set_tests_properties(integration.LifecycleTest.SigtermGivesBackEverything PROPERTIES RUN_SERIAL TRUE)
