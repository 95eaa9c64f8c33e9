//! stub
#![allow(missing_docs)]
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fields { pub elastic_policy: Option<ElasticPolicy>, pub nproc_per_node: Option<String> }
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticPolicy { pub min_replicas: Option<i32>, pub max_replicas: Option<i32>, pub rdzv_backend: Option<String>, pub rdzv_port: Option<i32>, pub rdzv_host: Option<String>, pub rdzv_id: Option<String>, pub rdzv_conf: Option<Vec<RdzvConf>>, pub standalone: Option<bool>, pub n_proc_per_node: Option<i32>, pub max_restarts: Option<i32> }
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RdzvConf { pub key: String, pub value: String }
pub fn crd() -> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition { Default::default() }
