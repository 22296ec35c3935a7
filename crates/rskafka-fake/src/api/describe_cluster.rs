//! DescribeCluster (key 60), versions 0 to 2: the brokers, without any topic (KIP-700).
//!
//! - Only brokers are described: for controllers (`endpoint_type` 2) MISMATCHED_ENDPOINT_TYPE, for anything
//!   else UNSUPPORTED_ENDPOINT_TYPE.
//! - Brokers whose crash the cluster has not noticed are named like others. From version 2 on those that do
//!   not run are named on request, as fenced.

use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::exchange::Api;
use super::metadata::CLUSTER_OPERATIONS;
use super::{Call, Outcome};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Api for DescribeClusterRequest {
    fn serve(self, call: &mut Call<'_>) -> Outcome<DescribeClusterResponse> {
        match self.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let refused = self.refuse(ErrorCode::MISMATCHED_ENDPOINT_TYPE, call.version);
                return Outcome::Answer(refused);
            }
            _ => {
                let refused = self.refuse(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, call.version);
                return Outcome::Answer(refused);
            }
        }
        let named = call.state.brokers.iter().filter(|one| one.is_listed() || self.include_fenced_brokers);
        let brokers = named.map(|broker| DescribeClusterBroker {
            broker_id: broker.id,
            host: broker.advertised.host.clone(),
            port: broker.advertised.wire_port(),
            rack: broker.rack.clone(),
            is_fenced: !broker.is_listed() && self.include_fenced_brokers,
        });
        let mut response = DescribeClusterResponse {
            brokers: brokers.collect(),
            cluster_id: call.state.cluster_id.clone(),
            controller_id: call.state.controller(),
            ..Default::default()
        };
        if self.include_cluster_authorized_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        Outcome::Answer(response)
    }

    fn refuse(&self, error_code: ErrorCode, _: i16) -> DescribeClusterResponse {
        let error_message = error_code.name().map(str::to_owned);
        DescribeClusterResponse { error_code, error_message, ..Default::default() }
    }
}
