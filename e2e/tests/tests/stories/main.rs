//! The stories of the spine (issue "One workload, end to end"), each as a person would live it: `kubectl`, `tptctl`,
//! `curl`'s requests, a real cluster. A file per story, the number in its name; `fire_n` are those of the spine under fire.

#![allow(missing_docs)]

mod burst;
mod chart;
mod chart_in_a_namespace;
mod command_line;
mod documentation;
mod failures;
mod fire_2_stillness;
mod fire_3_namespace;
mod installation;
mod invariant_1_all_but_the_database;
mod invariants;
mod left_nothing;
mod runtime;
mod scene;
mod steps;
mod story_1_apply;
mod story_2_again;
mod story_2_four_ways;
mod story_3_edit;
mod story_3_generations;
mod story_4_healing;
mod story_5_crds;
mod story_5_deletion;
mod story_6_signals;
mod story_6_without_agent;
mod story_6_without_nats;
mod story_8_bad_input;
mod story_8_rest;
mod story_9_two_control_planes;
mod what_stories_left;
