/* The command line without `serve`: what clients and `doctor` need, and so quick to start. */

import { Command } from "commander";

import { registerDoctor } from "../../broker/doctor.ts";
import { registerClientCommands } from "../../clients/cli/index.ts";

const program = new Command("whalesong");
registerDoctor(program);
registerClientCommands(program);
await program.parseAsync();
