/* agent_conf.h - the table of avow-agent's settings. Layer: agent. */
#ifndef AVOW_AGENT_CONF_H
#define AVOW_AGENT_CONF_H

#include "avow/base/conf.h"

extern const struct avow_conf_spec avow_agent_conf_spec;

#endif
