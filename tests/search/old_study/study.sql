BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE design_builds (
	build_id INTEGER NOT NULL, 
	study_name VARCHAR(64) NOT NULL, 
	trial_number INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	proof TEXT NOT NULL, 
	board VARCHAR(64) NOT NULL, 
	clk_period_ns DOUBLE NOT NULL, 
	target_fps BIGINT NOT NULL, 
	output VARCHAR(16) NOT NULL, 
	timeout_s INTEGER NOT NULL, 
	is_below_threshold BOOLEAN NOT NULL, 
	test_accuracy DOUBLE, 
	state VARCHAR(16) NOT NULL, 
	attempt INTEGER NOT NULL, 
	owner VARCHAR(255), 
	lease_until DOUBLE, 
	message TEXT, 
	report JSON, 
	queued_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	level VARCHAR(32), 
	level_note TEXT, 
	next_level VARCHAR(32), 
	folder TEXT, 
	log_tail TEXT, 
	PRIMARY KEY (build_id)
);
INSERT INTO "design_builds" VALUES(1,'small',1,'model.onnx','proof.npz','ZCU111',5.0,100000,'class',60,0,0.55,'succeeded',1,'me',NULL,NULL,'{"lut": 18432, "bram_18k": 27, "uram": 0, "dsp": 12, "throughput_fps": 101562.5, "latency_us": 61.3, "bottleneck_layer": "MVAU_hls_2", "bottleneck_cycles": 2048, "n_frames_verified": 100, "n_classes_equal": 99, "connected": {"lut": 24100, "bram_18k": 41, "uram": 0, "dsp": 12, "ff": null}, "n_width_converters": null, "n_fifos": null, "available": null, "by_rothe": null, "layers": [], "agreements": [], "not_executed": null, "rtl_check": null, "measured": null}','2026-11-30 04:00:09.671327','2026-11-30 04:00:09.692984','codegen',NULL,NULL,NULL,NULL);
INSERT INTO "design_builds" VALUES(2,'small',1,'model.onnx','proof.npz','ZCU102',5.0,100000,'class',60,0,0.55,'queued',0,NULL,NULL,NULL,NULL,'2026-11-30 04:00:09.694419',NULL,NULL,NULL,'estimate',NULL,NULL);
CREATE TABLE design_estimates (
	"key" VARCHAR(64) NOT NULL, 
	architecture_json TEXT NOT NULL, 
	board VARCHAR(64) NOT NULL, 
	clk_period_ns DOUBLE NOT NULL, 
	target_fps BIGINT NOT NULL, 
	output VARCHAR(16) NOT NULL, 
	timeout_s INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempt INTEGER NOT NULL, 
	owner VARCHAR(255), 
	lease_until DOUBLE, 
	message TEXT, 
	hardware JSON, 
	requested_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	PRIMARY KEY ("key")
);
INSERT INTO "design_estimates" VALUES('ae751e0593885f9201cd48417f2117d2','{"blocks":[{"type":"input_quantizer","bit_width":8,"clip":3.0},{"type":"depthwise_separable","out_channels":37,"kernel_size":7,"stride":1,"weight_bit_width":5,"activation_bit_width":8,"residual":null},{"type":"max_pool","kernel_size":2},{"type":"global_pool"},{"type":"linear","out_features":24,"weight_bit_width":4,"activation_bit_width":null}],"in_channels":2,"frame_length":1024,"n_classes":24}','ZCU111',5.0,100000,'class',1800,'estimated',1,'maker',NULL,NULL,'{"lut": 97600, "bram_18k": 9, "uram": 0, "dsp": 19, "throughput_fps": 204918.03278688525, "latency_us": 97.6, "bottleneck_layer": "MVAU_rtl_0", "available": {"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}}','2026-11-30 04:00:07.716165','2026-11-30 04:00:07.767267');
INSERT INTO "design_estimates" VALUES('cad132fbac723b9e10027c47f29032b5','{"blocks":[{"type":"input_quantizer","bit_width":8,"clip":3.0},{"type":"depthwise_separable","out_channels":11,"kernel_size":7,"stride":1,"weight_bit_width":5,"activation_bit_width":2,"residual":null},{"type":"max_pool","kernel_size":2},{"type":"global_pool"},{"type":"linear","out_features":24,"weight_bit_width":4,"activation_bit_width":null}],"in_channels":2,"frame_length":1024,"n_classes":24}','ZCU111',5.0,100000,'class',1800,'estimated',1,'maker',NULL,NULL,'{"lut": 30000, "bram_18k": 3, "uram": 0, "dsp": 6, "throughput_fps": 666666.6666666666, "latency_us": 30.0, "bottleneck_layer": "MVAU_rtl_0", "available": {"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}}','2026-11-30 04:00:07.869421','2026-11-30 04:00:07.885950');
INSERT INTO "design_estimates" VALUES('f86997e5962bc6946060967b63aca304','{"blocks":[{"type":"input_quantizer","bit_width":8,"clip":3.0},{"type":"depthwise_separable","out_channels":43,"kernel_size":7,"stride":2,"weight_bit_width":6,"activation_bit_width":2,"residual":null},{"type":"max_pool","kernel_size":2},{"type":"global_pool"},{"type":"linear","out_features":24,"weight_bit_width":4,"activation_bit_width":null}],"in_channels":2,"frame_length":1024,"n_classes":24}','ZCU111',5.0,100000,'class',1800,'estimated',1,'maker',NULL,NULL,'{"lut": 113200, "bram_18k": 11, "uram": 0, "dsp": 22, "throughput_fps": 176678.44522968197, "latency_us": 113.2, "bottleneck_layer": "MVAU_rtl_0", "available": {"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}}','2026-11-30 04:00:07.997303','2026-11-30 04:00:08.014228');
INSERT INTO "design_estimates" VALUES('4346288c4c5746a7de483dd64008b198','{"blocks":[{"type":"input_quantizer","bit_width":8,"clip":3.0},{"type":"depthwise_separable","out_channels":19,"kernel_size":7,"stride":1,"weight_bit_width":6,"activation_bit_width":5,"residual":null},{"type":"max_pool","kernel_size":2},{"type":"global_pool"},{"type":"linear","out_features":24,"weight_bit_width":4,"activation_bit_width":null}],"in_channels":2,"frame_length":1024,"n_classes":24}','ZCU111',5.0,100000,'class',1800,'estimated',1,'maker',NULL,NULL,'{"lut": 50800, "bram_18k": 5, "uram": 0, "dsp": 10, "throughput_fps": 393700.7874015748, "latency_us": 50.8, "bottleneck_layer": "MVAU_rtl_0", "available": {"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}}','2026-11-30 04:00:08.323506','2026-11-30 04:00:08.334639');
CREATE TABLE design_evaluations (
	study_name VARCHAR(64) NOT NULL, 
	trial_number INTEGER NOT NULL, 
	stage INTEGER NOT NULL, 
	accuracy DOUBLE NOT NULL, 
	accuracy_by_snr JSON NOT NULL, 
	n_frames BIGINT NOT NULL, 
	bit_ops DOUBLE NOT NULL, 
	weight_bits DOUBLE NOT NULL, 
	inference_cost DOUBLE NOT NULL, 
	parameters BIGINT NOT NULL, 
	density JSON NOT NULL, 
	epochs INTEGER NOT NULL, 
	seed BIGINT NOT NULL, 
	training_seconds DOUBLE NOT NULL, 
	checkpoint TEXT NOT NULL, 
	training_path VARCHAR(16) NOT NULL, 
	is_exact BOOLEAN NOT NULL, 
	PRIMARY KEY (study_name, trial_number, stage)
);
INSERT INTO "design_evaluations" VALUES('small',0,0,0.544,'{"0": 0.5}',624,3632896.0,3992.0,3.85220973791113897866e-03,976,'{"blocks.0": 1.0}',3,3,1.5,'small/0/stage-0','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',0,1,0.534,'{"0": 0.5}',624,3632896.0,3992.0,3.85220973791113897866e-03,976,'{"blocks.0": 1.0}',5,3,1.5,'small/0/stage-1','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',1,0,0.375,'{"0": 0.5}',624,800832.0,1236.0,0.000992159540854542,300,'{"blocks.0": 1.0}',3,4,1.5,'small/1/stage-0','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',1,1,0.365,'{"0": 0.5}',624,800832.0,1236.0,0.000992159540854542,300,'{"blocks.0": 1.0}',5,4,1.5,'small/1/stage-1','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',2,0,0.583,'{"0": 0.5}',624,880704.0,4728.0,2.44408538126443097143e-03,1132,'{"blocks.0": 1.0}',3,5,1.5,'small/2/stage-0','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',2,1,0.573,'{"0": 0.5}',624,880704.0,4728.0,2.44408538126443097143e-03,1132,'{"blocks.0": 1.0}',5,5,1.5,'small/2/stage-1','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',3,0,0.427,'{"0": 0.5}',624,1864608.0,2136.0,2.01214571192150082357e-03,508,'{"blocks.0": 1.0}',3,6,1.5,'small/3/stage-0','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',3,1,0.417,'{"0": 0.5}',624,1864608.0,2136.0,2.01214571192150082357e-03,508,'{"blocks.0": 1.0}',5,6,1.5,'small/3/stage-1','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',4,0,0.544,'{"0": 0.5}',624,3632896.0,3992.0,3.85220973791113897866e-03,976,'{"blocks.0": 1.0}',3,3,0.0,'small/0/stage-0','brevitas',0);
INSERT INTO "design_evaluations" VALUES('small',4,1,0.534,'{"0": 0.5}',624,3632896.0,3992.0,3.85220973791113897866e-03,976,'{"blocks.0": 1.0}',5,3,0.0,'small/0/stage-1','brevitas',0);
CREATE TABLE design_leases (
	study_name VARCHAR(64) NOT NULL, 
	owner VARCHAR(255) NOT NULL, 
	lease_until DOUBLE NOT NULL, 
	PRIMARY KEY (study_name)
);
CREATE TABLE design_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "design_schema" VALUES(4);
CREATE TABLE design_studies (
	name VARCHAR(64) NOT NULL, 
	text TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	provenance JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "design_studies" VALUES('small','
study: {name: small, seed: 3, sampler: random}
space:
  blocks:
    - {type: input_quantizer}
    - type: depthwise_separable
      kernel_size: 7
      stride: {choices: [1, 2]}
      out_channels: {int: [4, 64]}
      weight_bit_width: {int: [2, 8]}
      activation_bit_width: {int: [2, 8]}
    - {type: max_pool, kernel_size: 2}
    - {type: global_pool}
    - {type: linear, out_features: 24, weight_bit_width: 4}
pruning:
  stages:
    - {epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}
budget: {trials: 6, epochs: 3}
objectives: {lut: {}, latency_us: {}}
constraints: {throughput_fps: {at_least: 200000}}
workers: {max_attempts: 3}
','1aaf9e5e140838c5','{"data_file": "data.hdf5", "data_set": "file", "data_frames": "4992"}','2026-11-30 04:00:07.507326');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'small');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
INSERT INTO "study_directions" VALUES(3,'MINIMIZE',1,2);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy", "lut", "latency_us"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'sampler_seed_from_trial_0','3');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'space.blocks[1].out_channels',37.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(2,1,'space.blocks[1].stride',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(3,1,'space.blocks[1].weight_bit_width',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(4,1,'space.blocks[1].activation_bit_width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(5,1,'pruning.stages[0].epsilon',9.06663780040094235967e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'space.blocks[1].out_channels',11.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(7,2,'space.blocks[1].stride',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(8,2,'space.blocks[1].weight_bit_width',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(9,2,'space.blocks[1].activation_bit_width',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(10,2,'pruning.stages[0].epsilon',5.11149901955240057449e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(11,3,'space.blocks[1].out_channels',43.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(12,3,'space.blocks[1].stride',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(13,3,'space.blocks[1].weight_bit_width',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(14,3,'space.blocks[1].activation_bit_width',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(15,3,'pruning.stages[0].epsilon',6.02968679191793893723e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(16,4,'space.blocks[1].out_channels',19.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(17,4,'space.blocks[1].stride',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(18,4,'space.blocks[1].weight_bit_width',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(19,4,'space.blocks[1].activation_bit_width',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(20,4,'pruning.stages[0].epsilon',2.411809646274669372e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(21,5,'space.blocks[1].out_channels',37.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(22,5,'space.blocks[1].stride',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(23,5,'space.blocks[1].weight_bit_width',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(24,5,'space.blocks[1].activation_bit_width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(25,5,'pruning.stages[0].epsilon',9.06663780040094235967e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(26,6,'space.blocks[1].out_channels',37.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(27,6,'space.blocks[1].stride',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(28,6,'space.blocks[1].weight_bit_width',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(29,6,'space.blocks[1].activation_bit_width',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(30,6,'pruning.stages[0].epsilon',9.42745284874387384776e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(31,7,'space.blocks[1].out_channels',63.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 64}}');
INSERT INTO "trial_params" VALUES(32,7,'space.blocks[1].stride',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}}');
INSERT INTO "trial_params" VALUES(33,7,'space.blocks[1].weight_bit_width',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(34,7,'space.blocks[1].activation_bit_width',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 8}}');
INSERT INTO "trial_params" VALUES(35,7,'pruning.stages[0].epsilon',1.82995307984551817959e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.1, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'constraints:throughput_fps','-0.024590163934426236');
INSERT INTO "trial_system_attributes" VALUES(2,2,'constraints:throughput_fps','-2.333333333333333');
INSERT INTO "trial_system_attributes" VALUES(3,3,'constraints:throughput_fps','0.11660777385159017');
INSERT INTO "trial_system_attributes" VALUES(4,4,'constraints:throughput_fps','-0.9685039370078738');
INSERT INTO "trial_system_attributes" VALUES(5,5,'fixed_params','{"space.blocks[1].out_channels": 37, "space.blocks[1].stride": 1, "space.blocks[1].weight_bit_width": 5, "space.blocks[1].activation_bit_width": 8, "pruning.stages[0].epsilon": 0.09066637800400942}');
INSERT INTO "trial_system_attributes" VALUES(6,5,'constraints:throughput_fps','-0.024590163934426236');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'architecture_id','"d72ecb803383"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":37,\"kernel_size\":7,\"stride\":1,\"weight_bit_width\":5,\"activation_bit_width\":8,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.09066637800400942,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(3,2,'architecture_id','"21f0dda56222"');
INSERT INTO "trial_user_attributes" VALUES(4,2,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":11,\"kernel_size\":7,\"stride\":1,\"weight_bit_width\":5,\"activation_bit_width\":2,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.051114990195524006,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(5,3,'architecture_id','"8375d4b667f5"');
INSERT INTO "trial_user_attributes" VALUES(6,3,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":43,\"kernel_size\":7,\"stride\":2,\"weight_bit_width\":6,\"activation_bit_width\":2,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.06029686791917939,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'bit_ops','3632896.0');
INSERT INTO "trial_user_attributes" VALUES(8,1,'weight_bits','3992.0');
INSERT INTO "trial_user_attributes" VALUES(9,1,'parameters','976');
INSERT INTO "trial_user_attributes" VALUES(10,1,'epochs','5');
INSERT INTO "trial_user_attributes" VALUES(11,1,'training_seconds','3.0');
INSERT INTO "trial_user_attributes" VALUES(12,1,'stage_accuracies','[0.544, 0.534]');
INSERT INTO "trial_user_attributes" VALUES(13,1,'stage_inference_costs','[0.003852209737911139, 0.003852209737911139]');
INSERT INTO "trial_user_attributes" VALUES(14,1,'lut','97600');
INSERT INTO "trial_user_attributes" VALUES(15,1,'bram_18k','9');
INSERT INTO "trial_user_attributes" VALUES(16,1,'uram','0');
INSERT INTO "trial_user_attributes" VALUES(17,1,'dsp','19');
INSERT INTO "trial_user_attributes" VALUES(18,1,'throughput_fps','204918.03278688525');
INSERT INTO "trial_user_attributes" VALUES(19,1,'latency_us','97.6');
INSERT INTO "trial_user_attributes" VALUES(20,1,'bottleneck_layer','"MVAU_rtl_0"');
INSERT INTO "trial_user_attributes" VALUES(21,1,'available','{"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}');
INSERT INTO "trial_user_attributes" VALUES(22,4,'architecture_id','"2a4eb90396a6"');
INSERT INTO "trial_user_attributes" VALUES(23,4,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":19,\"kernel_size\":7,\"stride\":1,\"weight_bit_width\":6,\"activation_bit_width\":5,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.024118096462746694,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(24,2,'bit_ops','800832.0');
INSERT INTO "trial_user_attributes" VALUES(25,2,'weight_bits','1236.0');
INSERT INTO "trial_user_attributes" VALUES(26,2,'parameters','300');
INSERT INTO "trial_user_attributes" VALUES(27,2,'epochs','5');
INSERT INTO "trial_user_attributes" VALUES(28,2,'training_seconds','3.0');
INSERT INTO "trial_user_attributes" VALUES(29,2,'stage_accuracies','[0.375, 0.365]');
INSERT INTO "trial_user_attributes" VALUES(30,2,'stage_inference_costs','[0.000992159540854542, 0.000992159540854542]');
INSERT INTO "trial_user_attributes" VALUES(31,2,'lut','30000');
INSERT INTO "trial_user_attributes" VALUES(32,2,'bram_18k','3');
INSERT INTO "trial_user_attributes" VALUES(33,2,'uram','0');
INSERT INTO "trial_user_attributes" VALUES(34,2,'dsp','6');
INSERT INTO "trial_user_attributes" VALUES(35,2,'throughput_fps','666666.6666666666');
INSERT INTO "trial_user_attributes" VALUES(36,2,'latency_us','30.0');
INSERT INTO "trial_user_attributes" VALUES(37,2,'bottleneck_layer','"MVAU_rtl_0"');
INSERT INTO "trial_user_attributes" VALUES(38,2,'available','{"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}');
INSERT INTO "trial_user_attributes" VALUES(39,3,'bit_ops','880704.0');
INSERT INTO "trial_user_attributes" VALUES(40,3,'weight_bits','4728.0');
INSERT INTO "trial_user_attributes" VALUES(41,3,'parameters','1132');
INSERT INTO "trial_user_attributes" VALUES(42,3,'epochs','5');
INSERT INTO "trial_user_attributes" VALUES(43,3,'training_seconds','3.0');
INSERT INTO "trial_user_attributes" VALUES(44,3,'stage_accuracies','[0.583, 0.573]');
INSERT INTO "trial_user_attributes" VALUES(45,3,'stage_inference_costs','[0.002444085381264431, 0.002444085381264431]');
INSERT INTO "trial_user_attributes" VALUES(46,3,'lut','113200');
INSERT INTO "trial_user_attributes" VALUES(47,3,'bram_18k','11');
INSERT INTO "trial_user_attributes" VALUES(48,3,'uram','0');
INSERT INTO "trial_user_attributes" VALUES(49,3,'dsp','22');
INSERT INTO "trial_user_attributes" VALUES(50,3,'throughput_fps','176678.44522968197');
INSERT INTO "trial_user_attributes" VALUES(51,3,'latency_us','113.2');
INSERT INTO "trial_user_attributes" VALUES(52,3,'bottleneck_layer','"MVAU_rtl_0"');
INSERT INTO "trial_user_attributes" VALUES(53,3,'available','{"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}');
INSERT INTO "trial_user_attributes" VALUES(54,4,'bit_ops','1864608.0');
INSERT INTO "trial_user_attributes" VALUES(55,4,'weight_bits','2136.0');
INSERT INTO "trial_user_attributes" VALUES(56,4,'parameters','508');
INSERT INTO "trial_user_attributes" VALUES(57,4,'epochs','5');
INSERT INTO "trial_user_attributes" VALUES(58,4,'training_seconds','3.0');
INSERT INTO "trial_user_attributes" VALUES(59,4,'stage_accuracies','[0.427, 0.417]');
INSERT INTO "trial_user_attributes" VALUES(60,4,'stage_inference_costs','[0.002012145711921501, 0.002012145711921501]');
INSERT INTO "trial_user_attributes" VALUES(61,4,'lut','50800');
INSERT INTO "trial_user_attributes" VALUES(62,4,'bram_18k','5');
INSERT INTO "trial_user_attributes" VALUES(63,4,'uram','0');
INSERT INTO "trial_user_attributes" VALUES(64,4,'dsp','10');
INSERT INTO "trial_user_attributes" VALUES(65,4,'throughput_fps','393700.7874015748');
INSERT INTO "trial_user_attributes" VALUES(66,4,'latency_us','50.8');
INSERT INTO "trial_user_attributes" VALUES(67,4,'bottleneck_layer','"MVAU_rtl_0"');
INSERT INTO "trial_user_attributes" VALUES(68,4,'available','{"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}');
INSERT INTO "trial_user_attributes" VALUES(69,5,'architecture_id','"d72ecb803383"');
INSERT INTO "trial_user_attributes" VALUES(70,5,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":37,\"kernel_size\":7,\"stride\":1,\"weight_bit_width\":5,\"activation_bit_width\":8,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.09066637800400942,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(71,5,'bit_ops','3632896.0');
INSERT INTO "trial_user_attributes" VALUES(72,5,'weight_bits','3992.0');
INSERT INTO "trial_user_attributes" VALUES(73,5,'parameters','976');
INSERT INTO "trial_user_attributes" VALUES(74,5,'epochs','5');
INSERT INTO "trial_user_attributes" VALUES(75,5,'training_seconds','0.0');
INSERT INTO "trial_user_attributes" VALUES(76,5,'stage_accuracies','[0.544, 0.534]');
INSERT INTO "trial_user_attributes" VALUES(77,5,'stage_inference_costs','[0.003852209737911139, 0.003852209737911139]');
INSERT INTO "trial_user_attributes" VALUES(78,5,'copied_from','0');
INSERT INTO "trial_user_attributes" VALUES(79,5,'lut','97600');
INSERT INTO "trial_user_attributes" VALUES(80,5,'bram_18k','9');
INSERT INTO "trial_user_attributes" VALUES(81,5,'uram','0');
INSERT INTO "trial_user_attributes" VALUES(82,5,'dsp','19');
INSERT INTO "trial_user_attributes" VALUES(83,5,'throughput_fps','204918.03278688525');
INSERT INTO "trial_user_attributes" VALUES(84,5,'latency_us','97.6');
INSERT INTO "trial_user_attributes" VALUES(85,5,'bottleneck_layer','"MVAU_rtl_0"');
INSERT INTO "trial_user_attributes" VALUES(86,5,'available','{"lut": 400000, "bram_18k": 2000, "uram": 80, "dsp": 4000, "ff": null}');
INSERT INTO "trial_user_attributes" VALUES(87,6,'architecture_id','"fe21335edf84"');
INSERT INTO "trial_user_attributes" VALUES(88,6,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":37,\"kernel_size\":7,\"stride\":1,\"weight_bit_width\":3,\"activation_bit_width\":4,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.09427452848743874,\"weight_decay\":0.0,\"epochs\":2}]}"');
INSERT INTO "trial_user_attributes" VALUES(89,7,'architecture_id','"ecf4c8a563b0"');
INSERT INTO "trial_user_attributes" VALUES(90,7,'design','"{\"architecture\":{\"blocks\":[{\"type\":\"input_quantizer\",\"bit_width\":8,\"clip\":3.0},{\"type\":\"depthwise_separable\",\"out_channels\":63,\"kernel_size\":7,\"stride\":2,\"weight_bit_width\":7,\"activation_bit_width\":4,\"residual\":null},{\"type\":\"max_pool\",\"kernel_size\":2},{\"type\":\"global_pool\"},{\"type\":\"linear\",\"out_features\":24,\"weight_bit_width\":4,\"activation_bit_width\":null}],\"in_channels\":2,\"frame_length\":1024,\"n_classes\":24},\"training\":{\"epochs\":3,\"batch_size\":1024,\"learning_rate\":0.01,\"weight_decay\":0.0,\"restart_epochs\":5},\"stages\":[{\"epsilon\":0.018299530798455182,\"weight_decay\":0.0,\"epochs\":2}]}"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.534,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,97600.0,'FINITE');
INSERT INTO "trial_values" VALUES(3,1,2,97.6,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,0,0.365,'FINITE');
INSERT INTO "trial_values" VALUES(5,2,1,30000.0,'FINITE');
INSERT INTO "trial_values" VALUES(6,2,2,30.0,'FINITE');
INSERT INTO "trial_values" VALUES(7,3,0,0.573,'FINITE');
INSERT INTO "trial_values" VALUES(8,3,1,113200.0,'FINITE');
INSERT INTO "trial_values" VALUES(9,3,2,113.2,'FINITE');
INSERT INTO "trial_values" VALUES(10,4,0,0.417,'FINITE');
INSERT INTO "trial_values" VALUES(11,4,1,50800.0,'FINITE');
INSERT INTO "trial_values" VALUES(12,4,2,50.8,'FINITE');
INSERT INTO "trial_values" VALUES(13,5,0,0.534,'FINITE');
INSERT INTO "trial_values" VALUES(14,5,1,97600.0,'FINITE');
INSERT INTO "trial_values" VALUES(15,5,2,97.6,'FINITE');
INSERT INTO "trial_values" VALUES(16,7,0,0.99,'FINITE');
INSERT INTO "trial_values" VALUES(17,7,1,1.0,'FINITE');
INSERT INTO "trial_values" VALUES(18,7,2,1.0,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 04:00:07.614436','2026-11-30 04:00:08.196760');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-30 04:00:07.797753','2026-11-30 04:00:08.458834');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-30 04:00:07.921086','2026-11-30 04:00:08.571104');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-30 04:00:08.259836','2026-11-30 04:00:08.722193');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-30 04:00:08.841947','2026-11-30 04:00:09.536452');
INSERT INTO "trials" VALUES(6,5,1,'RUNNING','2026-11-30 04:00:09.561269',NULL);
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-30 04:00:09.624840','2026-11-30 04:00:09.663864');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX design_builds_once ON design_builds (study_name, trial_number, board, clk_period_ns, target_fps, output) WHERE state <> 'failed';
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
