/* commands.h - one function per command. Layer: tools/avow.
 * argc/argv are the words after the command. Results on stdout, diagnostics on stderr. */
#ifndef AVOW_TOOLS_COMMANDS_H
#define AVOW_TOOLS_COMMANDS_H

#include "command.h"

enum avow_exit avow_cmd_init(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_topics_apply(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_topics_check(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_push(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_list(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_get(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_rm(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_create(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_convert(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_diff(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_test(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_sign(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_policy_verify(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_add(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_update(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_reaccept(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_attest(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_rm(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_list(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_status(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_agent_watch(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_verdict_tail(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_verdict_audit(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_revocation_tail(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_revocation_verify(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_list(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_worker(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_tenant(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_author(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_root(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_resign(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_retire(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_keys_revoke(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_list(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_status(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_rm(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_allow(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_backup(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_republish(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_registrar_store(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_doctor(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_enroll(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_eventlog(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_appraise(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_ima(struct avow_cli *cli, int argc, char **argv);
enum avow_exit avow_cmd_quote(struct avow_cli *cli, int argc, char **argv);

#endif
